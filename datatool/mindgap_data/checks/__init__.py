"""The rules behind `audit`, the findings of `report` and the training alarms: one rule and one threshold each.

| to add a rule about ... | edit | who shows it |
| --- | --- | --- |
| a training run, log by log | `training.py` | the plugin's alarms; `report --trainer-state` |
| weights or the mix of tiers, in a file and in a run | `shared.py` | the alarms, and `report` |
| one row's text or log-probs | `audit.py` | `audit` |

A rule is a pure function from typed figures to findings (`finding.py`); its threshold stands in `thresholds.py`.
Nothing here imports torch: `from mindgap_data.checks.training import TrainingLog, TrainingWatch` is light.
"""
