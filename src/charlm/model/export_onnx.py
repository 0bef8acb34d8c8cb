"""Export of a trained model to ONNX, for use by other programs."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from charlm import DISTRIBUTION
from charlm.errors import CharlmError
from charlm.files import atomic
from charlm.model.ensemble import member_prefixes
from charlm.model.plain_weights import plain_weights
from charlm.model.store import read_description
from charlm.model.weights import GATE, TABLES
from charlm.settings import Architecture, Cell

log = logging.getLogger(__name__)

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
    """Write one step of a model's network as ONNX, for batches of any size B.

    The experts of a mixture are left out.

    Inputs are `symbol`, int64 (B,), and the state before it, which is zero at first: `h`, and `c`
    for an LSTM, each float32 (num_layers, B, H). The tensors of an ensemble's members are
    concatenated along the first dimension. Outputs are the `logits` of the next symbol, float32
    (B, V), and the state after it, `next_h` and `next_c`. The file's metadata hold `vocabulary`,
    which has the format of `vocabulary.json`.

    Raises:
        CharlmError: The model cannot be read, or the package `onnx` is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise CharlmError(
            f"{output}: needs the package 'onnx'; run `pip install '{DISTRIBUTION}[onnx]'`"
        ) from None
    description = read_description(model_folder)
    architecture, vocabulary = description.architecture, description.vocabulary
    if architecture.mixture:
        log.warning("%s: the network alone is exported, without its experts", model_folder)
    weights = {
        name: array
        for name, array in plain_weights(model_folder).items()
        if not name.startswith((TABLES, GATE))
    }
    prefixes = member_prefixes(architecture.members)
    hidden_size = weights[f"{prefixes[0]}output.weight"].shape[1]
    model = onnx.parser.parse_model(
        _model_text(architecture, prefixes, len(vocabulary), hidden_size)
    )
    for name, array in sorted(weights.items()):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, _identifier(name)))
    properties = {"vocabulary": json.dumps(vocabulary.to_dict(), ensure_ascii=False)}
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    with atomic(output) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def _model_text(
    architecture: Architecture, prefixes: Sequence[str], vocabulary_size: int, hidden_size: int
) -> str:
    """Return the step in ONNX's text format, without the weights.

    The state of an ensemble is split into rows, one per member and layer.
    """
    tensors = ("h", "c") if architecture.cell == "lstm" else ("h",)
    layers = architecture.num_layers
    rows = layers * len(prefixes)
    state = f"float[{rows}, B, {hidden_size}]"
    inputs = ", ".join(f"{state} {tensor}" for tensor in tensors)
    outputs = ", ".join(f"{state} next_{tensor}" for tensor in tensors)
    lines = []
    for tensor in tensors:
        parts = ", ".join(f"stacked_{tensor}_{row}" for row in range(rows))
        lines.append(f"{parts} = Split <axis = 0, num_outputs = {rows}> ({tensor})")
    for number, prefix in enumerate(map(_identifier, prefixes)):
        lines += _member_lines(architecture, prefix, number)
    for tensor in tensors:
        lines += [
            f"out_{tensor}_{row} = Unsqueeze (new_{tensor}_{row}, first)" for row in range(rows)
        ]
        parts = ", ".join(f"out_{tensor}_{row}" for row in range(rows))
        lines.append(f"next_{tensor} = Concat <axis = 0> ({parts})")
    numbers = range(len(prefixes))
    if len(prefixes) == 1:
        lines.append("logits = Identity (logits_0)")
    else:  # the logarithm of the members' mean probability
        lines += [f"probability_{n} = Softmax <axis = 1> (logits_{n})" for n in numbers]
        lines.append(f"mean = Mean ({', '.join(f'probability_{n}' for n in numbers)})")
        lines.append("logits = Log (mean)")
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


def _identifier(name: str) -> str:
    """Return the name of a weight as a valid ONNX identifier."""
    return name.replace(".", "_")
