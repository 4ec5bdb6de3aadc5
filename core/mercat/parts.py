"""The core's own parts: a table of names. Nothing is imported until a config uses a name."""

from __future__ import annotations

from mercat.registry import Registry

_CLASSIFYING = "mercat.training.classifying"
_ENCODING = "mercat.training.encoding"
_SERVERS = "mercat.indexes.servers"
_GENERATING = "mercat.training.generating"
_SMALLER = "mercat.training.smaller"
_TAGGING = "mercat.training.tagging"
_PAIRING = "mercat.training.pairing"
_MATCHER = "mercat.predictors.matcher"
_VECTORS = "mercat.training.vectors"
_ON_VECTORS = "mercat.predictors.vectors"

CORE = {
    "encoders": (
        ("transformer", "mercat.encoders.transformer:Transformer", "A pretrained transformer by name or folder"),
        ("universal", "mercat.encoders.universal:Universal", "Universal sentence encoder, 16 languages, no torch"),
        ("static", "mercat.encoders.static:Static", "Means of token vectors in model2vec's format, no torch"),
        ("remote", "mercat.encoders.remote:Remote", "A server of the OpenAI or TEI API; texts leave this machine"),
        ("spread", "mercat.encoders.spread:Spread", "Another encoder by several workers, here or on Ray"),
        ("hashing", "mercat.encoders.hashing:Hashing", "Character n-grams hashed to a vector; for tests"),
    ),
    "generators": (
        ("local", "mercat.generators.local:Local", "A language model on this machine, causal or sequence to sequence"),
        ("openai", "mercat.generators.remote:OpenAI", "A server of the OpenAI API; prompts leave this machine"),
    ),
    "indexes": (
        ("auto", "mercat.indexes.auto:Auto", "FAISS where it is installed, exact otherwise; says which"),
        ("exact", "mercat.indexes.exact:Exact", "Exact search in numpy"),
        ("faiss", "mercat.indexes.faiss:Faiss", "FAISS, on the CPU or a GPU"),
        ("pgvector", f"{_SERVERS}.pgvector:Pgvector", "A PostgreSQL database with the extension pgvector"),
        ("qdrant", f"{_SERVERS}.qdrant:Qdrant", "A Qdrant server, or its local mode for little data"),
        ("milvus", f"{_SERVERS}.milvus:Milvus", "A Milvus server, or Milvus Lite for little data"),
    ),
    "retrievers": (
        ("dense", "mercat.retrieval.dense:Dense", "Nearest vectors of one encoder"),
        ("bm25", "mercat.retrieval.lexical:Bm25", "Keyword search (BM25), English and Chinese"),
        ("hybrid", "mercat.retrieval.hybrid:Hybrid", "Dense and BM25 joined by their scores, learned weights or ranks"),
    ),
    "classifiers": (("trained", "mercat.classifiers.trained:TrainedClassifier", "The current version of an artifact"),),
    "taggers": (("trained", "mercat.predictors.tagger:TrainedTagger", "The spans that an artifact has learned"),),
    "matchers": (("trained", f"{_MATCHER}:TrainedMatcher", "How two texts belong together, as an artifact learned"),),
    "rerankers": (("trained", f"{_MATCHER}:TrainedMatcher", "Reads a question and a text together"),),
    "labellers": (("trained", f"{_ON_VECTORS}:TrainedLabeller", "Any number of labels, as an artifact learned"),),
    "regressors": (("trained", f"{_ON_VECTORS}:TrainedRegressor", "A number, as an artifact learned"),),
    "recipes": (
        ("linear", f"{_CLASSIFYING}.linear:Linear", "Frozen encoder, logistic regression on top: seconds"),
        ("full", f"{_CLASSIFYING}.full:Full", "Fine-tune the whole encoder with a head: most accurate"),
        ("lora", f"{_CLASSIFYING}.lora:Lora", "Fine-tune low-rank adapters of the encoder (PEFT)"),
        ("adalora", f"{_CLASSIFYING}.adalora:AdaLora", "Low-rank adapters, rank where it matters (PEFT)"),
        ("ia3", f"{_CLASSIFYING}.ia3:Ia3", "Fine-tune factors of keys, values and activations (PEFT)"),
        ("adapter", f"{_CLASSIFYING}.adapter:Adapter", "Fine-tune small layers between frozen ones"),
        ("bitfit", f"{_CLASSIFYING}.bitfit:BitFit", "Fine-tune the biases of the encoder alone"),
        ("distill", f"{_SMALLER}.distill:Distill", "A smaller encoder learns what a classifier says"),
        ("prune", f"{_SMALLER}.prune:Prune", "Fine-tune while the smallest weights become 0: no faster"),
        ("quantise", f"{_SMALLER}.quantise:Quantise", "A trained classifier in int8: a fourth of the size, no torch"),
        ("update", "mercat.training.updating.update:Update", "Go on learning from what came in; gated by old rows"),
        ("tokens", f"{_TAGGING}.tokens:Tokens", "A tag for each word: names of people, places and the like"),
        ("few-shot", f"{_CLASSIFYING}.few_shot:FewShot", "Few rows a label: contrast tunes the encoder, then a head"),
        ("pairs", f"{_PAIRING}.pairs:Pairs", "How two texts belong together: labels or numbers"),
        ("prefix", f"{_CLASSIFYING}.prefix:Prefix", "Fine-tune keys and values that every token attends to"),
        (
            "soft-prompt",
            f"{_CLASSIFYING}.soft_prompt:SoftPrompt",
            "Fine-tune a few vectors that stand before the tokens",
        ),
        (
            "prompt",
            f"{_CLASSIFYING}.prompt:Prompt",
            "Labels are words for a gap (PET), after `mlm`: few rows are enough",
        ),
        ("multi-label", f"{_VECTORS}.multi_label:MultiLabel", "Any number of labels per text, frozen or fine-tuned"),
        ("regression", f"{_VECTORS}.regression:Regression", "A number per text with an interval, frozen or fine-tuned"),
        ("zero-shot", f"{_CLASSIFYING}.zero_shot:ZeroShot", "Labels by their descriptions, nothing labelled"),
        ("contrastive", f"{_ENCODING}.contrastive:Contrastive", "An encoder learns from pairs or labels what is alike"),
        ("denoising", f"{_ENCODING}.denoising:Denoising", "An encoder gets used to texts without labels"),
        (
            "distill-static",
            f"{_ENCODING}.distill_static:DistillStatic",
            "Turn any encoder into a table of token vectors, for `static`",
        ),
        ("mlm", f"{_ENCODING}.mlm:Mlm", "Train an encoder on texts without labels, or a new one from nothing"),
        ("fusion", "mercat.training.fusing.fusion:Fusion", "How much the legs of a hybrid retriever count"),
        ("generate", f"{_GENERATING}.generate:Generate", "Fine-tune a language model on texts and the answers to them"),
    ),
    "trackers": (
        (
            "wandb",
            "mercat.training.tracking:Wandb",
            "Figures of every training for Weights & Biases, offline or online",
        ),
    ),
    "transforms": (
        ("redact", "mercat.flow.transforms:redact", "Replace personal data by placeholders"),
        ("language", "mercat.flow.transforms:language", "Fill in the locale from the text"),
    ),
}


def register_core(registry: Registry) -> None:
    """Add the core's parts to a fresh registry."""
    for kind, parts in CORE.items():
        for name, target, summary in parts:
            registry.kind(kind).add(name, target, summary=summary)
