"""What the model folders of networks that read or write words share: the network, and the vocabulary beside it."""

from collections.abc import Callable, Collection
from pathlib import Path

import torch

from lrcn.data.tokenizer import Tokenizer, load_tokenizer
from lrcn.errors import LrcnError
from lrcn.models.folder import Model, filled, read_weights


def read_network(
    folder: Path, made: Callable[[int], Model], vectors: Collection[str], device: str | torch.device
) -> tuple[Model, Tokenizer]:
    """The network of a folder, in evaluation mode on its device, and its vocabulary.

    Args:
        folder: the model folder.
        made: the network for a vocabulary of V words.
        vectors: names of the weights that may hold the words' vectors (V, E).
        device: where the network goes.

    Raises:
        LrcnError: a piece is missing, or does not fit the others; the sentence names it.
    """
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    tensors = read_weights(folder)
    words = next((tensors[name] for name in vectors if name in tensors), None)
    if words is not None and len(words) != tokenizer.size:
        raise LrcnError(
            f"{folder / 'tokenizer.json'} has {tokenizer.size} words, but model.safetensors {len(words)}; copy the "
            "whole folder again."
        )
    return filled(made(tokenizer.size), tensors, folder).to(device).eval(), tokenizer
