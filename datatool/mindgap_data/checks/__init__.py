"""The rules behind `audit`, the findings of `report` and the training alarms: one rule and one threshold each.

| to add a rule about ... | edit | who shows it |
| --- | --- | --- |
| a training run, log by log | `training.py` | the plugin's alarms; `report --trainer-state` |
| weights or the mix of tiers, in a file and in a run | `shared.py` | the alarms, and `report` |
| one row's text or log-probs | `response.py`, with an entry in `kinds.py` | `audit`; flags and findings of `report` |
| a whole file: draws, faults, the gap | `data.py` | `audit`, `report` |
| how a tier's responses are written | `style.py` | `audit`, `report` |

A rule is a pure function from typed figures to findings (`finding.py`); its threshold stands in `thresholds.py`.
Nothing here imports torch: `from mindgap_data.checks.training import TrainingLog, TrainingWatch` is light.
"""
