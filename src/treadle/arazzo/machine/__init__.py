"""All control flow of a run: `advance(state, event) → state, effect, facts`. Nothing here waits, sends or stores.

The state is a plain value (`State`): a stack of frames, one per workflow that has begun and not ended, and how far
the top one is. A workflow that is called is a frame, not an effect, and so is a workflow that a retry runs first; a
`goto` to a workflow replaces the frame. Every call of `advance` ends with exactly one effect:

=========  ====================================================================================================
`Send`     perform this request and come back with `Answered` or `Faulted`
`Publish`  send this message and come back with `Published` or `Faulted`
`Receive`  wait for a message and come back with `Received` or `Faulted`
`Wait`     come back with `Due` when the time has come (or see `watch`)
`Finish`   nothing more to do, for now or for ever
=========  ====================================================================================================

Two rules hold. First, whatever leads back to a step that was visited before goes through a `Wait`, be it of no length,
so no document can keep `advance` from returning. Second, a request that is not known to be a read is announced by a
state that says so (`intent`) and that must be saved before the request is sent; the flag goes when the outcome is
known. A state that is found with it is *in doubt*, and is not repeated unless somebody says so.

Time and chance come in with the events. Deliberately elsewhere: what is resolved before the run (`plan`), how long to
wait (`pacing`), performing effects (`run`). Here: `state` is what is stored, `effects` what comes in and goes out,
`moves` the flow itself, `judging` what it sees and says, `patience` how long things may take, `words` its sentences,
`watch` the visits of a poll that change nothing.
"""

from treadle.arazzo.machine.effects import (
    Answered,
    Begin,
    Continue,
    Due,
    Effect,
    Faulted,
    Finish,
    Interrupt,
    MachineEvent,
    MachineOptions,
    Publish,
    Published,
    Receive,
    Received,
    Send,
    Turn,
    Wait,
    Watched,
)
from treadle.arazzo.machine.machine import Machine, masked_inputs
from treadle.arazzo.machine.state import Detour, Finished, Frame, Held, State, ended
from treadle.arazzo.machine.watch import Watch

__all__ = [
    "Answered",
    "Begin",
    "Continue",
    "Detour",
    "Due",
    "Effect",
    "Faulted",
    "Finish",
    "Finished",
    "Frame",
    "Held",
    "Interrupt",
    "Machine",
    "MachineEvent",
    "MachineOptions",
    "Publish",
    "Published",
    "Receive",
    "Received",
    "Send",
    "State",
    "Turn",
    "Wait",
    "Watch",
    "Watched",
    "ended",
    "masked_inputs",
]
