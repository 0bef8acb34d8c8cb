"""A trained model for other programs: its one step as ONNX."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from charlm.errors import CharlmError
from charlm.files import atomic
from charlm.model.ensemble import member_prefixes
from charlm.model.store import read_description

# One step of a layer, each value's name with @ in the place of the layer's own: w is W x + b_ih,
# u is U h + b_hh, h and c are the state; charlm.recurrent.equations has the equations.
CELLS = {
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
    """Write a model's step as ONNX, for batches of any size B.

    Inputs: `symbol`, int64 (B,), and the state before it, `h` and for an LSTM `c`, float32
    (num_layers, B, H), at first zeros, those of an ensemble's members one below the other.
    Outputs: the `logits` of the next symbol, float32 (B, V), and the state after it, `next_h` and
    `next_c`. The model's metadata hold `vocabulary`, as `vocabulary.json` does.

    Raises:
        CharlmError: The model cannot be read, has an n-gram model, or the package `onnx` is not
            installed.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise CharlmError(
            f"{output}: needs the package 'onnx'; install it: pip install 'charlm[onnx]'"
        ) from None
    description = read_description(model_folder)
    settings, vocabulary = description["architecture"], description["vocabulary"]
    weights = load_file(Path(model_folder) / "model.safetensors")
    if settings.get("ngram_order"):
        raise CharlmError(
            f"{model_folder}: ONNX has no place for its n-gram model; "
            "train one with 'ngram_order: 0'"
        )
    members = member_prefixes(settings.get("members", 1))
    for member in members:
        if settings["one_hot"]:
            weights[f"{member}embedding.weight"] = np.eye(
                len(vocabulary["symbols"]), dtype=np.float32
            )
        if settings["tie_weights"]:
            weights[f"{member}output.weight"] = weights[f"{member}embedding.weight"]

    shape = weights[f"{members[0]}output.weight"].shape
    text = _text(settings["cell"], settings["num_layers"], members, *shape)
    model = onnx.parser.parse_model(text)
    for name, array in sorted(weights.items()):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, _identifier(name)))
    onnx.helper.set_model_props(model, {"vocabulary": json.dumps(vocabulary, ensure_ascii=False)})
    onnx.checker.check_model(model, full_check=True)
    with atomic(output) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def _text(cell: str, layers: int, members: Sequence[str], symbols: int, hidden_size: int) -> str:
    """Return the step as the text of an ONNX model, without the weights.

    `members` holds what the names of each member's weights begin with.
    """
    parts = ("h", "c") if cell == "lstm" else ("h",)
    rows = layers * len(members)
    state = f"float[{rows}, B, {hidden_size}]"
    inputs = ", ".join(f"{state} {part}" for part in parts)
    outputs = ", ".join(f"{state} next_{part}" for part in parts)
    lines = []
    for part in parts:
        each = ", ".join(f"stacked_{part}_{row}" for row in range(rows))
        lines.append(f"{each} = Split <axis = 0, num_outputs = {rows}> ({part})")
    for number, member in enumerate(map(_identifier, members)):
        first = number * layers
        lines.append(f"x_{first} = Gather ({member}embedding_weight, symbol)")
        for layer, row in enumerate(range(first, first + layers)):
            lines += [f"{part}_{row} = Squeeze (stacked_{part}_{row}, first)" for part in parts]
            for result, value, kind in (("w", "x", "ih"), ("u", "h", "hh")):
                weight, bias = (
                    f"{member}recurrent_{name}_{kind}_l{layer}" for name in ("weight", "bias")
                )
                lines.append(
                    f"{result}_{row} = Gemm <transB = 1> ({value}_{row}, {weight}, {bias})"
                )
            lines += CELLS[cell].replace("@", f"_{row}").splitlines()
            if layer + 1 < layers:
                lines.append(f"x_{row + 1} = Identity (new_h_{row})")
        weight, bias = f"{member}output_weight", f"{member}output_bias"
        lines.append(
            f"logits_{number} = Gemm <transB = 1> (new_h_{first + layers - 1}, {weight}, {bias})"
        )
    for part in parts:
        lines += [f"out_{part}_{row} = Unsqueeze (new_{part}_{row}, first)" for row in range(rows)]
        each = ", ".join(f"out_{part}_{row}" for row in range(rows))
        lines.append(f"next_{part} = Concat <axis = 0> ({each})")
    numbers = range(len(members))
    if len(members) == 1:
        lines.append("logits = Identity (logits_0)")
    else:  # the logarithm of the members' mean probability
        lines += [f"probability_{n} = Softmax <axis = 1> (logits_{n})" for n in numbers]
        lines.append(f"mean = Mean ({', '.join(f'probability_{n}' for n in numbers)})")
        lines.append("logits = Log (mean)")
    body = "\n".join(lines)
    return f"""
        <ir_version: 10, opset_import: ["" : 20], producer_name: "charlm">
        step (int64[B] symbol, {inputs}) => (float[B, {symbols}] logits, {outputs})
        <int64[1] first = {{0}}>
        {{ {body} }}
    """


def _identifier(name: str) -> str:
    return name.replace(".", "_")
