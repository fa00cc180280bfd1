"""The state of a training: nested dicts and lists of tensors, copied in place, and the file that holds it."""

import torch

from .errors import BadInput
from .files import atomic


def save(file, engine, epochs_done, evaluations):
    """Write the state of an unfinished run; a kill at any moment leaves the file as it was, or the new one."""
    content = {"state": engine.state(), "epochs_done": epochs_done, "evaluations": evaluations}
    content |= {"generator": engine.generator.get_state()}  # within an epoch: where its next step draws
    with atomic(file, "wb") as stream:
        torch.save(content, stream)


def restore(file, engine):
    """Copy what `save` wrote into the engine; returns epochs done, evaluations so far, state of the generator."""
    try:
        content = torch.load(file, map_location=engine.device, weights_only=True)
    except Exception as error:
        raise BadInput(f"{file} cannot be read: delete it to start this stage again") from error
    try:
        engine.load_state(content["state"])
        return content["epochs_done"], content["evaluations"], content["generator"].cpu()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{file} is of another training ({error}): delete it to start this stage again") from error


def clone(state):
    """A copy of a nested state."""
    if isinstance(state, dict):
        return {name: clone(value) for name, value in state.items()}
    if isinstance(state, list):
        return [clone(value) for value in state]
    return state.clone()


def copy(live, state):
    """Copy a state into the live tensors; raises ValueError where names, numbers or shapes differ."""
    if torch.is_tensor(live):
        if live.shape != state.shape:
            raise ValueError(f"a tensor of shape {tuple(state.shape)} instead of {tuple(live.shape)}")
        live.copy_(state)
        return
    names, saved = (set(part) if isinstance(part, dict) else set(range(len(part))) for part in (live, state))
    if names != saved:
        raise ValueError(f"only one of the two has {', '.join(sorted(map(str, names ^ saved))[:3])}")
    for name in names:
        copy(live[name], state[name])
