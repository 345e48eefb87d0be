"""From probabilities to tasks: at most two, in the order in which the faults came to be, from the last to the first.

A file is compressed after the sensor added noise; before that, too little light fell through drops, rain or haze. So `clean` goes
first, then what lay before the scene, then low light.
"""

from collections.abc import Collection, Mapping

MOST = 2
CERTAIN = 1.0
CERTAIN_QUALITY = 50  # of a JPEG file: its own tables say that it lost much
TASK_OF = {"noise": "clean", "jpeg": "clean", "drops": "raindrop", "rain": "derain", "haze": "dehaze", "dark": "lowlight"}
ORDER = ("clean", "raindrop", "derain", "dehaze", "lowlight")
BEFORE_THE_SCENE = {"raindrop", "derain", "dehaze"}  # one of them is done
CLEANS_TOO = {"lowlight"}  # removes noise and the traces of compression by itself


def planned(probabilities: Mapping[str, float], thresholds: Mapping[str, float], tasks: Collection[str] = ORDER) -> tuple[str, ...]:
    """What to do, of the tasks there are; nothing where all probabilities are below their thresholds."""
    excess: dict[str, float] = {}
    for fault, task in TASK_OF.items():
        over = (probabilities[fault] - thresholds[fault]) / (1 - thresholds[fault] + 1e-9)
        if over >= 0 and task in tasks:
            excess[task] = max(over, excess.get(task, 0.0))
    strongest = max(BEFORE_THE_SCENE & excess.keys(), key=excess.__getitem__, default=None)
    kept = {task for task in excess if task not in BEFORE_THE_SCENE or task == strongest}
    if kept & CLEANS_TOO:
        kept.discard("clean")
    chosen = sorted(kept, key=excess.__getitem__, reverse=True)[:MOST]
    return tuple(task for task in ORDER if task in chosen)
