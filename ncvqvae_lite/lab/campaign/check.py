"""Load what the jobs of a plan need, before they start: `python -m ncvqvae_lite.lab.campaign.check PLAN.json`.

Prints a JSON list of sentences: data sets that cannot be used or do not fit the settings, weights that do not fit. What
has to be downloaded is downloaded here, once, not by many jobs at a time.
"""

import json
import sys

from ...data import load_dataset
from ...errors import UserError
from ...experiment import check_experiment
from ...files import read_json
from .plan import config_of


def problems(plan):
    """Distinct sentences of whatever is wrong, in the order of the jobs."""
    found, series = {}, {}
    for job in plan["jobs"].values():
        dataset = job["cell"]["dataset"]
        try:
            if dataset not in series:
                series.clear()  # one data set in memory at a time
                series[dataset] = load_dataset(dataset, plan["data"])
            check_experiment(config_of(job), series[dataset], job["weights"])
        except UserError as error:
            found[str(error)] = None
    return list(found)


if __name__ == "__main__":
    print(json.dumps(problems(read_json(sys.argv[1]))))
