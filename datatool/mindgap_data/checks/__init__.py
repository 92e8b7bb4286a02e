"""The rules that audit, report and alarms share."""
