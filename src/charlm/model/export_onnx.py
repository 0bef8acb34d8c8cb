"""Export of a trained model to ONNX, for use by other programs."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from charlm import DISTRIBUTION
from charlm.errors import CharlmError
from charlm.files import atomic
from charlm.model.contexts import WORDS
from charlm.model.ensemble import member_prefixes
from charlm.model.experts import expert_list
from charlm.model.plain_weights import identifier, plain_weights
from charlm.model.store import load_model, make_contexts, read_description
from charlm.settings import Architecture, Cell

MAX_BYTES = 2_000_000_000
"""Bytes of weights that a file may hold; ONNX's format ends at 2 GiB."""

# One step of a layer in ONNX's text format; @ stands for the suffix of the layer's values. It takes
# w = W x + b_ih, u = U h + b_hh and the state h, c; see charlm.recurrent.equations.
CELLS: dict[Cell, str] = {
    "lstm": """
        a@ = Add (w@, u@)
        a_i@, a_f@, a_g@, a_o@ = Split <axis = 1, num_outputs = 4> (a@)
        i@ = Sigmoid (a_i@)
        f@ = Sigmoid (a_f@)
        g@ = Tanh (a_g@)
        o@ = Sigmoid (a_o@)
        kept@ = Mul (f@, c@)
        added@ = Mul (i@, g@)
        new_c@ = Add (kept@, added@)
        tanh_c@ = Tanh (new_c@)
        new_h@ = Mul (o@, tanh_c@)
    """,
    "gru": """
        w_r@, w_z@, w_n@ = Split <axis = 1, num_outputs = 3> (w@)
        u_r@, u_z@, m@ = Split <axis = 1, num_outputs = 3> (u@)
        a_r@ = Add (w_r@, u_r@)
        a_z@ = Add (w_z@, u_z@)
        r@ = Sigmoid (a_r@)
        z@ = Sigmoid (a_z@)
        remembered@ = Mul (r@, m@)
        a_n@ = Add (w_n@, remembered@)
        n@ = Tanh (a_n@)
        difference@ = Sub (h@, n@)
        kept@ = Mul (z@, difference@)
        new_h@ = Add (n@, kept@)
    """,
}


def export_onnx(model_folder: str | Path, output: str | Path) -> None:
    """Write one step of a model as ONNX, for batches of any size B.

    Inputs are `symbol`, int64 (B,), and the state before it, which is zero at first: `h`, and `c`
    for an LSTM, each float32 (num_layers, B, H), and for a mixture `history`, int64 (order - 1, B),
    and `words`, int64 (3, B). The tensors of an ensemble's members are concatenated along the first
    dimension. Outputs are the `logits` of the next symbol, float32 (B, V), and the state after it,
    `next_h` and so on.

    The file's metadata hold, as JSON, the `vocabulary` in the format of `vocabulary.json`, the
    `initial_logits` of the first symbol of a text if there is no symbol for the end of the document
    before it, or else null, and `unknown_nats`, which an unknown character costs beside the unknown
    symbol.

    Raises:
        CharlmError: The model cannot be read or is too large, or the package `onnx` is not
            installed.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise CharlmError(
            f"{output}: needs the package 'onnx'; run `pip install '{DISTRIBUTION}[onnx]'`"
        ) from None
    from charlm.model.onnx_mixture import add_mixture

    description = read_description(model_folder)
    architecture, vocabulary = description.architecture, description.vocabulary
    weights = plain_weights(model_folder)
    if sum(array.nbytes for array in weights.values()) > MAX_BYTES:
        raise CharlmError(
            f"{model_folder}: an ONNX file holds at most 2 GB; lower mixture.max_megabytes"
        )
    prefixes = member_prefixes(architecture.members)
    hidden_size = weights[f"{prefixes[0]}output.weight"].shape[1]
    step = onnx.parser.parse_model(
        _model_text(architecture, prefixes, len(vocabulary), hidden_size)
    )
    for name, array in sorted(weights.items()):
        step.graph.initializer.append(onnx.numpy_helper.from_array(array, identifier(name)))
    if architecture.mixture:
        listed = expert_list(architecture.mixture.experts, architecture.mixture.order)
        add_mixture(step.graph, make_contexts(vocabulary, architecture.mixture), listed)
    properties = {
        "vocabulary": vocabulary.to_dict(),
        "initial_logits": _initial_logits(model_folder),
        "unknown_nats": vocabulary.unknown_nats,
    }
    onnx.helper.set_model_props(
        step, {key: json.dumps(value, ensure_ascii=False) for key, value in properties.items()}
    )
    onnx.checker.check_model(step, full_check=True)
    with atomic(output) as temporary:
        temporary.write_bytes(step.SerializeToString(deterministic=True))


def _initial_logits(model_folder: str | Path) -> list[float] | None:
    """Return the logits of a text's first symbol; None if they follow the end of a document."""
    model, vocabulary = load_model(model_folder)
    if vocabulary.end_of_document is not None:
        return None
    with torch.no_grad():
        logits: list[float] = model.initial_logits(1)[0].tolist()
    return logits


def _model_text(
    architecture: Architecture, prefixes: Sequence[str], vocabulary_size: int, hidden_size: int
) -> str:
    """Return the step in ONNX's text format, without the weights and the experts.

    The state of an ensemble is split into rows, one per member and layer. The logits of a mixture's
    network are the value `network`.
    """
    tensors = ("h", "c") if architecture.cell == "lstm" else ("h",)
    layers = architecture.num_layers
    rows = layers * len(prefixes)
    state = dict.fromkeys(tensors, f"float[{rows}, B, {hidden_size}]")
    if architecture.mixture:
        state["history"] = f"int64[{architecture.mixture.order - 1}, B]"
        state["words"] = f"int64[{WORDS}, B]"
    inputs = ", ".join(f"{kind} {tensor}" for tensor, kind in state.items())
    outputs = ", ".join(f"{kind} next_{tensor}" for tensor, kind in state.items())
    logits = "network" if architecture.mixture else "logits"
    lines = []
    for tensor in tensors:
        parts = ", ".join(f"stacked_{tensor}_{row}" for row in range(rows))
        lines.append(f"{parts} = Split <axis = 0, num_outputs = {rows}> ({tensor})")
    for number, prefix in enumerate(map(identifier, prefixes)):
        lines += _member_lines(architecture, prefix, number)
    for tensor in tensors:
        lines += [
            f"out_{tensor}_{row} = Unsqueeze (new_{tensor}_{row}, first)" for row in range(rows)
        ]
        parts = ", ".join(f"out_{tensor}_{row}" for row in range(rows))
        lines.append(f"next_{tensor} = Concat <axis = 0> ({parts})")
    numbers = range(len(prefixes))
    if len(prefixes) == 1:
        lines.append(f"{logits} = Identity (logits_0)")
    else:  # the logarithm of the members' mean probability
        lines += [f"probability_{n} = Softmax <axis = 1> (logits_{n})" for n in numbers]
        lines.append(f"mean = Mean ({', '.join(f'probability_{n}' for n in numbers)})")
        lines.append(f"{logits} = Log (mean)")
    body = "\n".join(lines)
    return f"""
        <ir_version: 10, opset_import: ["" : 20], producer_name: "charlm">
        step (int64[B] symbol, {inputs}) => (float[B, {vocabulary_size}] logits, {outputs})
        <int64[1] first = {{0}}>
        {{ {body} }}
    """


def _member_lines(architecture: Architecture, prefix: str, number: int) -> list[str]:
    """Return the lines of one network: embedding, layers and output layer.

    Args:
        architecture: Its architecture.
        prefix: What the names of its weights begin with.
        number: Its number in the ensemble.
    """
    tensors = ("h", "c") if architecture.cell == "lstm" else ("h",)
    first = number * architecture.num_layers
    last = first + architecture.num_layers - 1
    lines = [f"x_{first} = Gather ({prefix}embedding_weight, symbol)"]
    for row in range(first, last + 1):
        layer = row - first
        lines += [f"{tensor}_{row} = Squeeze (stacked_{tensor}_{row}, first)" for tensor in tensors]
        for result, value, kind in (("w", "x", "ih"), ("u", "h", "hh")):
            weight = f"{prefix}recurrent_weight_{kind}_l{layer}"
            bias = f"{prefix}recurrent_bias_{kind}_l{layer}"
            lines.append(f"{result}_{row} = Gemm <transB = 1> ({value}_{row}, {weight}, {bias})")
        lines += CELLS[architecture.cell].replace("@", f"_{row}").splitlines()
        if row < last:
            lines.append(f"x_{row + 1} = Identity (new_h_{row})")
    weight, bias = f"{prefix}output_weight", f"{prefix}output_bias"
    lines.append(f"logits_{number} = Gemm <transB = 1> (new_h_{last}, {weight}, {bias})")
    return lines
