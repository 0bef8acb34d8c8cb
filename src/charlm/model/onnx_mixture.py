"""The experts and the gate of a mixture, as nodes of an ONNX graph.

`charlm.model.contexts`, `experts`, `kneser_ney`, `gate` and `mixture` explain what is computed
here, with the arrays of `model.safetensors`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from charlm.model.contexts import MULTIPLIER, WORDS, Contexts
from charlm.model.experts import Expert
from charlm.model.plain_weights import identifier
from charlm.model.weights import GATE, TABLES

FLOAT, INT32, INT64 = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.INT64)

NEVER = -1e30
"""The log-probability of a symbol that was not seen, a finite one."""


class Nodes:
    """Appends nodes and constants to a graph, and returns the names of their values."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph

    def __call__(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Append a node with one output."""
        name = name or f"mixture_{len(self.graph.node)}"
        self.graph.node.append(onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def constant(self, values: object, kind: type[np.generic] = np.int64) -> str:
        """Append a constant."""
        name = f"constant_{len(self.graph.initializer)}"
        array = onnx.numpy_helper.from_array(np.asarray(values, kind), name)
        self.graph.initializer.append(array)
        return name

    def length(self, name: str) -> int:
        """Return the length of a constant or weight."""
        [found] = [array for array in self.graph.initializer if array.name == name]
        return int(found.dims[0])

    def floor_divide(self, number: str, divisor: int) -> str:
        """Divide integers; ONNX's own division rounds towards zero."""
        by = self.constant(divisor)
        return self("Div", self("Sub", number, self("Mod", number, by)), by)

    def combine(self, context: str, *others: str) -> str:
        """Return a hash of several numbers; see `charlm.model.contexts.combine`."""
        for other in others:
            mixed = self("BitwiseXor", context, other)
            context = self("Mul", mixed, self.constant(MULTIPLIER))
            context = self("BitwiseXor", context, self.floor_divide(context, 1 << 31))
        return context


def add_mixture(graph: onnx.GraphProto, contexts: Contexts, experts: Mapping[str, Expert]) -> None:
    """Add the experts and the gate of a mixture to the graph of its network.

    The nodes compute the outputs `logits`, `next_history` and `next_words`; see
    `charlm.model.export_onnx.export_onnx`. The rows of `history` are one more than the last
    symbols, and 0 before a document begins, so that the initial state is zero.

    Args:
        graph: A graph with the inputs `symbol`, `history` and `words`, the network's logits as the
            value `network`, and the arrays of the experts and of the gate.
        contexts: Reads the contexts.
        experts: The experts by name.
    """
    add = Nodes(graph)
    keys = _contexts(add, contexts, experts)
    rows = _find(add, list(experts), keys)
    log_network = add("LogSoftmax", "network", axis=-1)
    size = contexts.vocabulary_size
    uniform = add.constant(np.full(size, -np.log(size)), np.float32)
    predicted: dict[str | None, str] = {None: add("Expand", uniform, add("Shape", "network"))}
    known = []
    for number, (name, expert) in enumerate(experts.items()):
        row = add("Gather", rows, add.constant(number), axis=1)
        predicted[name], features = _predict(add, name, row, predicted[expert.general])
        known.append(features)
    longest = predicted[f"ngram{contexts.order}"]
    features = add("Concat", *_summaries(add, log_network, longest), *known, axis=1)
    weights = _weigh(add, features)
    del predicted[None]
    second = add.constant([1])
    opinions = [add("Unsqueeze", each, second) for each in (log_network, *predicted.values())]
    stacked = add("Concat", *opinions, axis=1)
    mixed = add("Squeeze", add("MatMul", add("Unsqueeze", weights, second), stacked), second)
    add("LogSoftmax", mixed, axis=-1, name="logits")


def _contexts(add: Nodes, contexts: Contexts, experts: Mapping[str, Expert]) -> str:
    """Read the symbol; return the contexts of all K experts after it, int32 (B, K)."""
    zero, one = add.constant(0), add.constant(1)
    end = add.constant(-1 if contexts.end_of_document is None else contexts.end_of_document)
    ended = add("Equal", "symbol", end)

    first = add.constant([0])
    newest = add("Unsqueeze", add("Add", "symbol", one), first)
    last = add.constant([np.iinfo(np.int64).max])
    older = add("Slice", "history", add.constant([1]), last, first)
    older = add("Where", ended, zero, older)
    history = add("Concat", older, newest, axis=0, name="next_history")
    unseen = add("Equal", history, zero)
    lags = add("Where", unseen, add.constant(contexts.vocabulary_size + 1), history)
    suffixes = [add("Mul", "symbol", zero)]
    for length in range(1, contexts.order):
        lag = add("Gather", lags, add.constant(contexts.order - 1 - length), axis=0)
        suffixes.append(add.combine(suffixes[-1], lag))

    words = _words(add, contexts, ended)
    hashes = {f"ngram{length + 1}": suffix for length, suffix in enumerate(suffixes)}
    hashes |= {
        "word": add.combine(words[0], one),
        "word1": add.combine(words[0], add.constant(2), words[1]),
        "word2": add.combine(words[0], add.constant(3), words[1], words[2]),
        "skip": add.combine(words[0], add.constant(4), words[2]),
    }
    if "word1_suffix3" in experts:
        hashes["word1_suffix3"] = add.combine(suffixes[3], add.constant(5), words[1])
    second = add.constant([1])
    together = [add("Unsqueeze", hashes[name], second) for name in experts]
    shortened = add.floor_divide(add("Concat", *together, axis=1), 1 << 32)
    return add("Cast", shortened, to=INT32)


def _words(add: Nodes, contexts: Contexts, ended: str) -> list[str]:
    """Return the hashes of the current word and of those before it, each int64 (B,)."""
    assert contexts.letters is not None
    zero, first = add.constant(0), add.constant([0])
    begun, *before = [
        add("Gather", "words", add.constant(number), axis=0) for number in range(WORDS)
    ]
    letter = add("Gather", add.constant(contexts.letters.numpy()), "symbol")
    outside = add("Equal", letter, zero)
    completed = add("And", outside, add("Not", add("Equal", begun, zero)))
    grown = add("Add", add("Mul", begun, add.constant(MULTIPLIER)), letter)
    words = [add("Where", outside, zero, grown)]
    for newer, older in zip([begun, *before], before, strict=False):
        words.append(add("Where", completed, newer, older))
    words = [add("Where", ended, zero, word) for word in words]
    add("Concat", *(add("Unsqueeze", word, first) for word in words), axis=0, name="next_words")
    return words


def _find(add: Nodes, names: Sequence[str], keys: str) -> str:
    """Return the row of each context in its expert's table, int64 (B, K), by binary search.

    The row of a context that was not seen is the length of the table. The tables stand one after
    another, with a context at the end that the search may look at.
    """
    tables = [identifier(f"{TABLES}{name}.contexts") for name in names]
    lengths = [add.length(table) for table in tables]
    ends = np.cumsum(lengths)
    sentinel = add.constant([np.iinfo(np.int32).max], np.int32)
    together = add("Concat", *tables, sentinel, axis=0)
    nowhere = add("Mul", add("Cast", keys, to=INT64), add.constant(0))
    begin, end = add.constant(ends - lengths), add.constant(ends)
    low, high = add("Add", nowhere, begin), add("Add", nowhere, end)
    one, two = add.constant(1), add.constant(2)
    for _ in range(max(lengths).bit_length()):
        middle = add("Div", add("Add", low, high), two)
        smaller = add("Less", add("Gather", together, middle), keys)
        right = add("And", smaller, add("Less", low, high))
        low = add("Where", right, add("Add", middle, one), low)
        high = add("Where", right, high, middle)
    found = add("And", add("Equal", add("Gather", together, low), keys), add("Less", low, end))
    return add("Where", found, add("Sub", low, begin), add.constant(lengths))


def _predict(add: Nodes, name: str, row: str, general: str) -> tuple[str, str]:
    """Return an expert's log-probabilities (B, V) and features (B, 2); see `CountTable.predict`."""
    distinct, symbols, counts, discounts = (
        identifier(f"{TABLES}{name}.{array}")
        for array in ("distinct", "symbols", "counts", "discounts")
    )
    zero, one, second = add.constant(0), add.constant(1), add.constant([1])
    nothing, unit = add.constant(0, np.float32), add.constant(1, np.float32)
    never, edge = add.constant(NEVER, np.float32), add.constant([0], np.int32)
    # Where each context's symbols begin. A runtime computes it once, as it depends on no input.
    begins = add("CumSum", add("Concat", edge, add("Cast", distinct, to=INT32), edge, axis=0), zero)
    begin = add("Cast", add("Gather", begins, row), to=INT64)
    end = add("Cast", add("Gather", begins, add("Add", row, one)), to=INT64)
    number = add("Sub", end, begin)
    places = add("Range", zero, add("ReduceMax", number, keepdims=0), one)
    place = add("Add", add("Unsqueeze", begin, second), places)
    seen = add("Less", place, add("Unsqueeze", end, second))
    place = add("Min", place, add.constant(add.length(symbols) - 1))

    count = add("Cast", add("Gather", counts, place), to=INT64)
    discount = add("Gather", discounts, add("Min", count, add.constant(3)))
    count = add("Where", seen, add("Cast", count, to=FLOAT), nothing)
    discount = add("Where", seen, discount, nothing)
    total, taken = (add("ReduceSum", each, second, keepdims=1) for each in (count, discount))
    backoff = add(
        "Where", add("Greater", total, nothing), add("Log", add("Div", taken, total)), nothing
    )
    own = add("Log", add("Div", add("Sub", count, discount), total))
    symbol = add("Cast", add("Gather", symbols, place), to=INT64)
    own = add(
        "ScatterElements",
        add("Expand", never, add("Shape", general)),
        symbol,
        add("Where", seen, own, never),
        axis=1,
        reduction="max",
    )
    number = add("Cast", add("Unsqueeze", number, second), to=FLOAT)
    known = add("Log", add("Add", add("Concat", total, number, axis=1), unit))
    return _log_add_exp(add, add("Add", general, backoff), own), known


def _log_add_exp(add: Nodes, a: str, b: str) -> str:
    """Return the logarithm of the sum of two exponentials."""
    larger, smaller = add("Max", a, b), add("Min", a, b)
    ratio = add("Exp", add("Sub", smaller, larger))
    return add("Add", larger, add("Log", add("Add", ratio, add.constant(1, np.float32))))


def _summaries(add: Nodes, network: str, ngram: str) -> list[str]:
    """Return the first features of the gate, each (B, 1); see `Mixture._join`."""
    last = add.constant([-1])
    probabilities = [add("Exp", each) for each in (network, ngram)]
    products = [add("Mul", *pair) for pair in zip(probabilities, (network, ngram), strict=True)]
    return [
        *(add("Neg", add("ReduceSum", product, last)) for product in products),
        *(add("ReduceMax", each, last) for each in (network, ngram)),
        add("ReduceSum", add("Abs", add("Sub", *probabilities)), last),
    ]


def _weigh(add: Nodes, features: str) -> str:
    """Return the weights of the network and the experts (B, K + 1); see `Gate.forward`."""
    mean, scale, constant, hidden, bias, output = (
        identifier(f"{GATE}{name}")
        for name in ("mean", "scale", "constant", "hidden.weight", "hidden.bias", "output.weight")
    )
    known = add("Div", add("Sub", features, mean), scale)
    units = add("Tanh", add("Gemm", known, hidden, bias, transB=1))
    return add("Gemm", units, output, constant, transB=1)
