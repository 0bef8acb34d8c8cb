"""The samples and their overlap with the training text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.evaluation.memorization import Overlap
from charlm.report.limits import LIMITS
from charlm.report.results import ModelResults, Results, Sample, grouped
from charlm.report.surprise import bits_of_characters

REPETITIVE = 0.3
"""At lower temperatures, a model often repeats itself."""


@dataclass(frozen=True)
class PromptSamples:
    """The samples for one prompt."""

    prompt: str
    models: Sequence[tuple[ModelResults, Mapping[float, Sequence[Sample]]]]
    """Each model and its samples by temperature."""


def samples_by_prompt(models: Sequence[ModelResults]) -> list[PromptSamples]:
    """Return the samples of the models for each prompt."""
    prompts = dict.fromkeys(sample.prompt for model in models for sample in model.samples)
    return [
        PromptSamples(
            prompt,
            [
                (
                    model,
                    grouped(
                        (sample.temperature, sample)
                        for sample in model.samples
                        if sample.prompt == prompt
                    ),
                )
                for model in models
            ],
        )
        for prompt in prompts
    ]


def samples_to_quote(model: ModelResults) -> list[tuple[str, Sample]]:
    """Return a sample of a low and one of a high temperature, with prompts if possible."""
    quoted: list[tuple[str, Sample]] = []
    temperatures = {sample.temperature for sample in model.samples}
    for kind, wanted in (
        ("careful", min(temperatures, key=lambda each: (each < REPETITIVE, each), default=None)),
        ("wild", max(temperatures, default=None)),
    ):
        found = [sample for sample in model.samples if sample.temperature == wanted]
        if found and all(found[0].temperature != sample.temperature for _, sample in quoted):
            quoted.append((kind, min(found, key=lambda sample: not sample.prompt.strip())))
    return quoted


@dataclass(frozen=True)
class CopiedPassage:
    """A passage of a sample that occurs in the training text."""

    model: ModelResults
    temperature: float
    text: str
    bits: Sequence[float]
    """The bits of each character of it."""


def copied_passages(results: Results, models: Sequence[ModelResults]) -> list[CopiedPassage]:
    """Return the longest different passages that the models' samples copy."""
    found = {
        sample.text[start:end]: (model, sample, start, end)
        for model in models
        for sample in model.samples
        for start, end in sample.overlap["passages"]
    }
    longest = sorted(found.items(), key=lambda each: -len(each[0]))[: LIMITS.passages]
    passages = []
    for model in models:
        own = [(text, *place[1:]) for text, place in longest if place[0] is model]
        if own:
            beginnings = [sample.text[:end] for _, sample, _, end in own]
            all_bits = bits_of_characters(results.folder / "models" / model.label, beginnings)
            passages += [
                CopiedPassage(model, sample.temperature, text, bits[start:])
                for (text, sample, start, _), bits in zip(own, all_bits, strict=True)
            ]
    return sorted(passages, key=lambda passage: -len(passage.text))


@dataclass(frozen=True)
class OverlapSummary:
    """The overlap of several texts with the training text."""

    texts: int
    median: float
    """Median of the longest matches, in characters."""
    longest: int
    share: float | None
    """Mean share that is copied; None if all texts are too short for one."""


@dataclass(frozen=True)
class MemorizationSummary:
    """How much models copy, and how much held-out text repeats."""

    copied_length: int
    """Characters from which on a match counts as copied."""
    longest: int
    """The longest match of any sample, in characters."""
    samples_with_copies: int
    rows: Mapping[str, Mapping[float, OverlapSummary]]
    """By model and temperature."""
    held_out: OverlapSummary | None


def summarize_memorization(results: Results, models: Sequence[ModelResults]) -> MemorizationSummary:
    """Summarize the overlaps of the models' samples and of held-out text."""
    overlaps = [sample.overlap for model in models for sample in model.samples]
    held_out = results.memorization["held_out"]
    return MemorizationSummary(
        copied_length=results.memorization["run"],
        longest=max(map(_longest, overlaps), default=0),
        samples_with_copies=sum(bool(overlap["passages"]) for overlap in overlaps),
        rows={
            model.label: {
                temperature: _summarize(group)
                for temperature, group in grouped(
                    (sample.temperature, sample.overlap) for sample in model.samples
                ).items()
            }
            for model in models
        },
        held_out=_summarize(held_out) if held_out else None,
    )


def _summarize(overlaps: Sequence[Overlap]) -> OverlapSummary:
    longest = list(map(_longest, overlaps))
    shares = [overlap["share"] for overlap in overlaps if overlap["share"] is not None]
    return OverlapSummary(
        texts=len(longest),
        median=float(np.median(longest)),
        longest=max(longest),
        share=float(np.mean(shares)) if shares else None,
    )


def _longest(overlap: Overlap) -> int:
    start, end = overlap["longest"]
    return end - start
