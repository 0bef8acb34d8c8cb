"""Training steps on a GPU, replayed as one CUDA graph.

A step launches hundreds of kernels, most of them small, and launching them takes the host several
times as long as the GPU needs to run them. A CUDA graph launches them all at once. It repeats the
same kernels on the same memory, so all that changes from step to step must be in tensors that stay
in place: also the learning rate, and the steps that an optimizer counts. Random numbers still
differ: PyTorch gives the graph the seed of its generator at each replay.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from charlm.errors import CharlmError
from charlm.model.base import State
from charlm.recurrent.gpu.enclosing import enclosed_in_graph

log = logging.getLogger(__name__)

WARM_UP_STEPS = 3
"""Steps that are launched as usual before the capture."""


@dataclass
class StepInputs:
    """What a step reads, besides the weights and the buffers of the optimizer.

    Attributes:
        tokens: The tokens to read, int64 of shape (length, batch).
        targets: The token that follows each, of the same shape.
        recurrent: The recurrent state before the step; None for the initial state.
        learning_rate: The learning rate; a tensor without dimensions on a GPU.
        averaging_rate: The share of the new weights in the average of the weights; a tensor
            without dimensions on a GPU.
    """

    tokens: Tensor
    targets: Tensor
    recurrent: State | None
    learning_rate: float | Tensor
    averaging_rate: float | Tensor


Step: TypeAlias = Callable[[StepInputs], State]
"""Makes a step and returns the recurrent state after it. In a graph it must not read any tensor on
the host, and must write its results into tensors that stay in place."""

Capture: TypeAlias = Callable[[Callable[[], None]], Callable[[], object]]
"""Records what a function launches on the GPU, without running it; returns what replays it."""


class GraphedStep:
    """A training step on a GPU: launched as usual a few times, then replayed as a CUDA graph.

    The first steps compile kernels and let libraries allocate their memory, neither of which is
    possible during a capture. They are steps of the training, so the warm-up has nothing to undo,
    and a resumed training makes the same steps as one that never stopped.

    Args:
        step: The step.
        device: The GPU.
        capture: How to capture.
        obstacle: Why the step cannot be captured; None if it can.
    """

    def __init__(
        self, step: Step, device: torch.device, capture: Capture, obstacle: str | None = None
    ) -> None:
        self._step = step
        self._device = device
        self._capture = capture
        self._inputs: StepInputs | None = None
        self._replay: Callable[[], object] | None = None
        self._launched = 0
        self._captures = obstacle is None
        if obstacle:
            _log_obstacle(obstacle)

    def __call__(self, inputs: StepInputs) -> State:
        """Make a step.

        Args:
            inputs: The inputs of the step, which may be on the CPU; numbers in place of tensors.

        Returns:
            The recurrent state after the step. The next step overwrites it.
        """
        own = self._inputs = self._stored(inputs)
        if self._captures and self._replay is None and self._launched >= WARM_UP_STEPS:
            self._try_to_capture()
        if self._replay:
            self._replay()
        else:
            self._run()
            self._launched += 1
        assert own.recurrent is not None
        return own.recurrent

    @property
    def is_replayed(self) -> bool:
        """Whether steps are replayed from now on."""
        return self._replay is not None

    def forget(self) -> None:
        """Capture anew after some more steps: the step does something else from now on."""
        self._replay = None
        self._launched = 0

    def _stored(self, given: StepInputs) -> StepInputs:
        """Copy inputs into the memory that the graph reads."""
        own = self._inputs
        if own is None:
            zero = torch.zeros((), device=self._device)
            own = StepInputs(
                torch.empty_like(given.tokens, device=self._device),
                torch.empty_like(given.targets, device=self._device),
                None,
                zero,
                zero.clone(),
            )
        for mine, other in ((own.tokens, given.tokens), (own.targets, given.targets)):
            if self._device.type == "cuda":
                other = other.pin_memory()  # so that the GPU copies while it computes
            mine.copy_(other, non_blocking=True)
        for number, value in (
            (own.learning_rate, given.learning_rate),
            (own.averaging_rate, given.averaging_rate),
        ):
            assert isinstance(number, Tensor)
            number.fill_(value)
        if own.recurrent is None:
            if given.recurrent is not None:
                own.recurrent = tuple(part.clone() for part in given.recurrent)
        elif given.recurrent is None:
            for part in own.recurrent:
                part.zero_()
        elif given.recurrent is not own.recurrent:
            for part, other in zip(own.recurrent, given.recurrent, strict=True):
                part.copy_(other)
        return own

    def _run(self) -> None:
        """Make a step from and to the graph's memory."""
        own = self._inputs
        assert own is not None
        with enclosed_in_graph() if self._captures else nullcontext():
            after = self._step(own)
        if own.recurrent is None:  # the very first step
            own.recurrent = tuple(part.clone() for part in after)
        else:
            for part, other in zip(own.recurrent, after, strict=True):
                part.copy_(other)

    def _try_to_capture(self) -> None:
        try:
            self._replay = self._capture(self._run)
        except RuntimeError as error:
            self._captures = False
            _log_obstacle(str(error).partition("\n")[0])
        else:
            log.info("training steps run as one CUDA graph from now on")


def _log_obstacle(reason: str) -> None:
    log.info("training steps cannot run as one CUDA graph (%s); they take longer", reason)


def capture_on_gpu(work: Callable[[], None]) -> Callable[[], object]:
    """Capture what `work` launches on the current GPU as a CUDA graph.

    Its random numbers come from the GPU's default generator, which PyTorch registers with each
    graph: a replay draws what `work` would draw with the generator's seed.

    Raises:
        RuntimeError: It cannot be captured. Nothing has run, and random numbers are as before.
        CharlmError: It cannot be captured, and random numbers are not as before.
    """
    expected = _random_numbers()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            work()
    except RuntimeError as error:
        if not torch.equal(_random_numbers(), expected):
            raise CharlmError(
                f"training: capturing a CUDA graph failed ({error}) and left PyTorch's random "
                "numbers in disorder; use another version of PyTorch"
            ) from error
        raise
    return graph.replay


def _random_numbers() -> Tensor:
    """Draw some numbers with a fixed seed, and leave the GPU's generator as it was."""
    state = torch.cuda.get_rng_state()
    torch.cuda.manual_seed(0)
    numbers = torch.rand(8, device="cuda")
    torch.cuda.set_rng_state(state)
    return numbers
