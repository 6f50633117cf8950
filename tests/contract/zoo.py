"""Small random models of 99 combinations of architecture and head, built from their transformers configs.

Four layers, width 32, no dropout, values large enough that a wrong layer shows.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

WORDS = 65
TEXT = {
    "vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "num_labels": 3,
}  # fmt: skip
DECODER = {**TEXT, "num_key_value_heads": 1, "head_dim": 16}
GPT2 = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 4, "n_head": 2, "n_positions": 64, "pad_token_id": 0,
        "bos_token_id": 1, "eos_token_id": 2, "num_labels": 3}  # fmt: skip
VISION = {"image_size": 16, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2,
          "intermediate_size": 64, "num_labels": 3}  # fmt: skip
SOUND = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 64,
         "vocab_size": WORDS, "conv_dim": [16, 16], "conv_stride": [10, 8], "conv_kernel": [10, 8],
         "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
         "classifier_proj_size": 16, "num_labels": 3, "pad_token_id": 0, "mask_time_prob": 0.0}  # fmt: skip
T5 = {"vocab_size": WORDS, "d_model": 32, "d_ff": 64, "d_kv": 16, "num_heads": 2, "num_layers": 4,
      "num_decoder_layers": 4, "pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0}  # fmt: skip
BART = {"vocab_size": WORDS, "d_model": 32, "encoder_layers": 4, "decoder_layers": 4, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
        "num_labels": 3}  # fmt: skip
WHISPER = {**BART, "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 64}
MOE = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
WINDOW = {"sliding_window": 4}
MODERN = {**TEXT, "cls_token_id": 1, "sep_token_id": 2, "local_attention": 4}
ALTERNATING = ["sliding_attention", "full_attention"] * 2
DEEPSEEK = {
    "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 32,
    "first_k_dense_replace": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 16, "n_shared_experts": 1, "num_key_value_heads": 2,
}  # fmt: skip
CLIP_TEXT = {**TEXT, "projection_dim": 16}
CLIP = {"text_config": CLIP_TEXT, "vision_config": {**VISION, "projection_dim": 16}, "projection_dim": 16}
LLAVA = {
    "text_config": {**DECODER, "model_type": "llama"}, "vision_config": {**VISION, "model_type": "clip_vision_model"},
    "image_token_id": 64, "vision_feature_layer": -1,
}  # fmt: skip
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DISTILBERT = {"vocab_size": WORDS, "dim": 32, "n_layers": 4, "n_heads": 2, "hidden_dim": 64, "num_labels": 2,
              "max_position_embeddings": 64}  # fmt: skip
DEBERTA = {**TEXT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
DEBERTA_V2 = {**DEBERTA, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True}
CONV = {"conv_kernel_size": 3, "conv_act": "gelu"}
XLNET = {"vocab_size": WORDS, "d_model": 32, "n_layer": 4, "n_head": 2, "d_inner": 64, "num_labels": 3, **IDS}
XLM = {"vocab_size": WORDS, "emb_dim": 32, "n_layers": 4, "n_heads": 2, "max_position_embeddings": 64, "n_langs": 1,
       "num_labels": 3, "pad_index": 0, "bos_index": 1, "eos_index": 2}  # fmt: skip
FUNNEL = {"vocab_size": WORDS, "block_sizes": [2, 2], "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 64,
          "num_labels": 3, "num_decoder_layers": 1}  # fmt: skip
GROUPS = dict.fromkeys(
    ("q_groups", "k_groups", "v_groups", "post_attention_groups", "intermediate_groups", "output_groups"), 1
)
GPT_NEO = {"vocab_size": WORDS, "hidden_size": 32, "num_layers": 4, "num_heads": 2, "intermediate_size": 64,
           "max_position_embeddings": 64, "attention_types": [[["global", "local"], 2]], "window_size": 4,
           **IDS}  # fmt: skip
OPT = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "ffn_dim": 64,
       "max_position_embeddings": 64, "word_embed_proj_dim": 32, **IDS}  # fmt: skip
MAMBA = {"vocab_size": WORDS, "hidden_size": 32, "num_hidden_layers": 4, "state_size": 8, **IDS}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2], "window_size": 4,
        "num_labels": 3}  # fmt: skip
SEVEN = {**DECODER, **WINDOW, "num_hidden_layers": 7,
         "layer_types": [*["sliding_attention"] * 5, "full_attention", "sliding_attention"]}  # fmt: skip

Entry = tuple[str, dict[str, Any]]

ZOO: dict[str, Entry] = {
    **{f"bert-{head}": (f"BertFor{head}", TEXT) for head in (
        "SequenceClassification", "TokenClassification", "MaskedLM", "MultipleChoice", "NextSentencePrediction")},
    "bert-QuestionAnswering": ("BertForQuestionAnswering", {**TEXT, "num_labels": 2}),
    "bert-bare": ("BertModel", TEXT),
    **{f"roberta-{head}": (f"RobertaFor{head}", TEXT) for head in (
        "SequenceClassification", "TokenClassification", "MaskedLM", "MultipleChoice")},
    "roberta-QuestionAnswering": ("RobertaForQuestionAnswering", {**TEXT, "num_labels": 2}),
    "roberta-bare": ("RobertaModel", TEXT),
    "xlmr-TokenClassification": ("XLMRobertaForTokenClassification", TEXT),
    "xlmr-xl": ("XLMRobertaXLForSequenceClassification", TEXT),
    "camembert": ("CamembertForSequenceClassification", TEXT),
    "electra-cls": ("ElectraForSequenceClassification", {**TEXT, "embedding_size": 16}),
    "electra-disc": ("ElectraForPreTraining", {**TEXT, "embedding_size": 16}),
    "distilbert-cls": ("DistilBertForSequenceClassification", DISTILBERT),
    "distilbert-qa": ("DistilBertForQuestionAnswering", DISTILBERT),
    "mpnet-cls": ("MPNetForSequenceClassification", TEXT),
    "mpnet-mlm": ("MPNetForMaskedLM", TEXT),
    "deberta-v1": ("DebertaForSequenceClassification", DEBERTA),
    "deberta-v3": ("DebertaV2ForSequenceClassification", {**DEBERTA_V2, "position_biased_input": False}),
    "deberta-v2-conv": ("DebertaV2ForSequenceClassification", {**DEBERTA_V2, **CONV}),
    "modernbert-alt": ("ModernBertForSequenceClassification", {**MODERN, "global_attn_every_n_layers": 2}),
    "modernbert-all-global": ("ModernBertForSequenceClassification", {**MODERN, "global_attn_every_n_layers": 1}),
    "modernbert-mlm": ("ModernBertForMaskedLM", {**MODERN, "global_attn_every_n_layers": 2}),
    "nomic-bert": ("NomicBertForSequenceClassification", TEXT),
    "eurobert": ("EuroBertForSequenceClassification", DECODER),
    "albert": ("AlbertForSequenceClassification", {**TEXT, "embedding_size": 16}),
    "longformer": ("LongformerForSequenceClassification", {**TEXT, "attention_window": [4] * 4, "sep_token_id": 2}),
    "bigbird": ("BigBirdForSequenceClassification", {**TEXT, "attention_type": "original_full"}),
    "xlnet": ("XLNetForSequenceClassification", XLNET),
    "esm": ("EsmForSequenceClassification", {**TEXT, "mask_token_id": 3, "position_embedding_type": "rotary"}),
    "convbert": ("ConvBertForSequenceClassification", {**TEXT, "embedding_size": 32, "num_attention_heads": 4}),
    "mobilebert": ("MobileBertForSequenceClassification", {**TEXT, "embedding_size": 32, "intra_bottleneck_size": 32}),
    "layoutlm": ("LayoutLMForSequenceClassification", {**TEXT, "max_2d_position_embeddings": 64}),
    "funnel": ("FunnelForSequenceClassification", FUNNEL),
    "squeezebert": ("SqueezeBertForSequenceClassification", {**TEXT, "embedding_size": 32, **GROUPS}),
    "roformer": ("RoFormerForSequenceClassification", {**TEXT, "embedding_size": 32}),
    "ibert": ("IBertForSequenceClassification", TEXT),
    "gpt2-lm": ("GPT2LMHeadModel", GPT2),
    "gpt2-cls": ("GPT2ForSequenceClassification", GPT2),
    "gpt-neo": ("GPTNeoForCausalLM", GPT_NEO),
    "gpt-neox": ("GPTNeoXForCausalLM", TEXT),
    "gptj": ("GPTJForCausalLM", {**GPT2, "rotary_dim": 8}),
    "llama": ("LlamaForCausalLM", DECODER),
    "llama-cls": ("LlamaForSequenceClassification", DECODER),
    "mistral-swa": ("MistralForCausalLM", {**DECODER, **WINDOW}),
    "qwen2": ("Qwen2ForCausalLM", DECODER),
    "qwen2-swa": ("Qwen2ForCausalLM", {**DECODER, **WINDOW, "use_sliding_window": True, "max_window_layers": 2}),
    "qwen3": ("Qwen3ForCausalLM", DECODER),
    "gemma1": ("GemmaForCausalLM", DECODER),
    "gemma2": ("Gemma2ForCausalLM", {**DECODER, **WINDOW, "layer_types": ALTERNATING}),
    "gemma3-text": ("Gemma3ForCausalLM", {**DECODER, **WINDOW, "layer_types": ["full_attention"] * 4}),
    "phi3": ("Phi3ForCausalLM", {**DECODER, "num_key_value_heads": 2}),
    "opt": ("OPTForCausalLM", OPT),
    "bloom": ("BloomForCausalLM", {"vocab_size": WORDS, "hidden_size": 32, "n_layer": 4, "n_head": 2, **IDS}),
    "falcon": ("FalconForCausalLM", {**TEXT, "new_decoder_architecture": False}),
    "smollm3": ("SmolLM3ForCausalLM", {**DECODER, "no_rope_layers": [1, 0, 1, 0], "use_sliding_window": False}),
    "gpt-oss": ("GptOssForCausalLM", {**DECODER, **WINDOW, **MOE, "layer_types": ALTERNATING}),
    "qwen3-moe": ("Qwen3MoeForCausalLM", {**DECODER, **MOE}),
    "mixtral": ("MixtralForCausalLM", {**DECODER, **MOE}),
    "mamba": ("MambaForCausalLM", MAMBA),
    "t5-encoder": ("T5EncoderModel", T5),
    "t5-s2s": ("T5ForConditionalGeneration", T5),
    "bart-s2s": ("BartForConditionalGeneration", BART),
    "vit": ("ViTForImageClassification", VISION),
    "dinov2": ("Dinov2ForImageClassification", {**VISION, "mlp_ratio": 2}),
    "beit": ("BeitForImageClassification", VISION),
    "swin": ("SwinForImageClassification", SWIN),
    "wav2vec2-cls": ("Wav2Vec2ForSequenceClassification", SOUND),
    "wav2vec2-ctc-stable": ("Wav2Vec2ForCTC", {**SOUND, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}),
    "hubert-ctc": ("HubertForCTC", SOUND),
    "wav2vec2-layerdrop": ("Wav2Vec2ForSequenceClassification", {**SOUND, "layerdrop": 0.5}),
    "clip-text": ("CLIPTextModel", CLIP_TEXT),
    "clip-full": ("CLIPModel", CLIP),
    "whisper": ("WhisperForConditionalGeneration", WHISPER),
    "llava": ("LlavaForConditionalGeneration", LLAVA),
    "gpt2-inverse-idx": ("GPT2LMHeadModel", {**GPT2, "scale_attn_by_inverse_layer_idx": True}),
    "gemma3-7layers": ("Gemma3ForCausalLM", SEVEN),
    "modernbert-decoder": ("ModernBertDecoderForCausalLM", {**MODERN, "global_attn_every_n_layers": 2}),
    "jina-v3": ("JinaEmbeddingsV3ForSequenceClassification", TEXT),
    "bert-decoder": ("BertLMHeadModel", {**TEXT, "is_decoder": True}),
    "roberta-decoder": ("RobertaForCausalLM", {**TEXT, "is_decoder": True}),
    "granite": ("GraniteForCausalLM", {**DECODER, "num_key_value_heads": 2}),
    "olmo2": ("Olmo2ForCausalLM", {**DECODER, "num_key_value_heads": 2}),
    "cohere2": ("Cohere2ForCausalLM", {**DECODER, **WINDOW, "layer_types": ALTERNATING}),
    "phi": ("PhiForCausalLM", {**DECODER, "num_key_value_heads": 2}),
    "deepseek-v3": ("DeepseekV3ForCausalLM", {**TEXT, **DEEPSEEK}),
    "siglip-text": ("SiglipTextModel", TEXT),
    "deit": ("DeiTForImageClassification", VISION),
    "bart-cls": ("BartForSequenceClassification", BART),
    "mt5-encoder": ("MT5EncoderModel", T5),
    "xlm": ("XLMForSequenceClassification", XLM),
    "bart.get_encoder()": ("BartForConditionalGeneration", BART),
    "t5.get_encoder()": ("T5ForConditionalGeneration", T5),
    "whisper.get_encoder()": ("WhisperForConditionalGeneration", WHISPER),
}  # fmt: skip


# What is served if the user says which stack or which sizes: a name above, and the arguments of `Theseus`.
CHOSEN: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{name}, {side}": (name, {"stack": side}) for name in ("t5-s2s", "bart-s2s", "bart-cls", "whisper")
       for side in ("encoder", "decoder")},
    "clip-full, vision": ("clip-full", {"stack": "vision_model.encoder.layers"}),
    "gemma3-7layers, 3 + 4": ("gemma3-7layers", {"sizes": [3, 4]}),
    "bert, 1 + 3": ("bert-SequenceClassification", {"sizes": [1, 3]}),
    "gpt2, 3 + 1": ("gpt2-lm", {"sizes": [3, 1]}),
}  # fmt: skip


def _without_dropout(config: Any, layerdrop: bool) -> None:
    for name, value in vars(config).items():
        if hasattr(value, "to_dict"):
            _without_dropout(value, layerdrop)
        elif "drop" in name and isinstance(value, float) and not (layerdrop and name == "layerdrop"):
            setattr(config, name, 0.0)


def model_of(name: str) -> nn.Module:
    """The model in eval mode, the same in every process."""
    class_name, values = ZOO[name]
    model_class: Any = getattr(transformers, class_name)
    config = model_class.config_class(**values)
    _without_dropout(config, layerdrop="layerdrop" in name)
    torch.manual_seed(0)
    model = model_class(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1 and parameter.numel() > 1:
                parameter.normal_(0, 0.2)
    model = model.get_encoder() if name.endswith("get_encoder()") else model
    return model.eval()
