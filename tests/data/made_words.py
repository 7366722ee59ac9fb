"""A tiny captioner and tiny joint embeddings, as model folders."""

import torch

from lrcn.data.photos import PhotoPreprocess
from lrcn.data.tokenizer import UNKNOWN, Tokenizer
from lrcn.generate import Decoding
from lrcn.models.captioner import Captioner, CaptionerConfig
from lrcn.models.captioner_folder import save_captioner
from lrcn.models.cnn import EncoderConfig
from lrcn.models.decoder import DecoderConfig
from lrcn.models.joint import JointConfig, JointEmbedding
from lrcn.models.joint_folder import save_joint
from lrcn.models.recurrent import RecurrentConfig

TOKENIZER = Tokenizer((UNKNOWN, "a", "red", "blue", "square"))
ENCODER = EncoderConfig("test_efficientnet", "none")


def tiny_captioner(folder, seed=0):
    """Writes a captioner with random weights into `folder`, which it returns."""
    torch.manual_seed(seed)
    config = CaptionerConfig(ENCODER, features=6, decoder=DecoderConfig(size=6, embedding=6, init_range=0.9))
    model = Captioner(config, TOKENIZER.size)
    save_captioner(folder, model, PhotoPreprocess(32), TOKENIZER, Decoding(max_length=4))
    return folder


def tiny_finder(folder, seed=0):
    """Writes a joint embedding with random weights into `folder`, which it returns."""
    torch.manual_seed(seed)
    config = JointConfig(ENCODER, size=4, embedding=4, recurrent=RecurrentConfig("gru", 4, dropout=0))
    save_joint(folder, JointEmbedding(config, TOKENIZER.size), PhotoPreprocess(32), TOKENIZER)
    return folder
