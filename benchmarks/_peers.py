"""What others would use on the same rows, with their documented defaults."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.frame import Missing
from mercat.values import Example

SETFIT_PAIRS = 20  # num_iterations: pairs per row and side; without it SetFit would draw all pairs of 77 labels


def svm(rows: Sequence[Example]) -> dict[str, Any]:
    """TF-IDF of words (1-2) and characters (2-5) with a linear SVM, scikit-learn's defaults."""
    import sklearn
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.svm import LinearSVC

    started = _now()
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, characters), LinearSVC())
    learn = [row for row in rows if row.split != "test"]
    model.fit([row.text for row in learn], [row.label for row in learn])
    spent = _spent(started)
    predicted = model.predict([row.text for row in rows if row.split == "test"])
    return {
        "predicted": [str(label) for label in predicted],
        **spent,
        "version": f"scikit-learn {sklearn.__version__}, words 1-2 and characters 2-5, LinearSVC()",
    }


def tfidf(rows: Sequence[Example]) -> dict[str, Any]:
    """mercat's own simple baseline, which every evaluation stands beside."""
    from mercat.evaluation.baselines import TfidfLinear

    started = _now()
    learn = [row for row in rows if row.split != "test"]
    model = TfidfLinear().fit([row.text for row in learn], [row.label for row in learn])
    predicted = model.predict([row.text for row in rows if row.split == "test"])
    return {"predicted": predicted, **_spent(started), "version": TfidfLinear.name}


def setfit(rows: Sequence[Example]) -> dict[str, Any]:
    """SetFit on MiniLM: contrastive pairs, then logistic regression."""
    try:
        import setfit as library
        from datasets import Dataset
    except ImportError as error:
        raise Missing("SetFit: pip install -r benchmarks/requirements-intents.txt") from error
    from mercat.encoders.transformer import Transformer

    started = _now()
    learn = [row for row in rows if row.split != "test"]
    model = library.SetFitModel.from_pretrained(str(Transformer("all-MiniLM-L6-v2").checkpoint.folder))
    arguments = library.TrainingArguments(num_iterations=SETFIT_PAIRS, seed=0)
    given = Dataset.from_dict({"text": [row.text for row in learn], "label": [row.label for row in learn]})
    library.Trainer(model=model, args=arguments, train_dataset=given).train()
    spent = _spent(started)
    predicted = model.predict([row.text for row in rows if row.split == "test"])
    return {
        "predicted": [str(label) for label in predicted],
        **spent,
        "version": f"setfit {library.__version__}, num_iterations={SETFIT_PAIRS}",
    }


def peft_trainer(rows: Sequence[Example]) -> dict[str, Any]:
    """PEFT's LoRA of rank 8 for sequence classification in transformers' Trainer, as PEFT's documentation shows it.

    Batches of 32, three epochs and the rate 1e-3 of its examples; padding per batch, evaluation once at the end.
    """
    import tempfile

    import numpy as np
    import peft
    import torch
    import transformers
    from torch.utils.data import Dataset

    from mercat.encoders.transformer import Transformer

    started, folder = _now(), str(Transformer("all-MiniLM-L6-v2").checkpoint.folder)
    learn, test = ([row for row in rows if (row.split == "test") == wanted] for wanted in (False, True))
    labels = sorted({row.label for row in learn})
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    transformers.set_seed(0)
    body = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(labels))
    config = peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, lora_dropout=0.1)
    model = peft.get_peft_model(body, config)

    class Rows(Dataset):  # type: ignore[type-arg]
        def __init__(self, part: Sequence[Example]) -> None:
            self.part = part

        def __len__(self) -> int:
            return len(self.part)

        def __getitem__(self, place: int) -> dict[str, Any]:
            row = self.part[place]
            number = labels.index(row.label) if row.label in labels else 0
            return {**tokenizer(row.text, truncation=True, max_length=128), "labels": number}

    with tempfile.TemporaryDirectory() as name:
        arguments = transformers.TrainingArguments(
            output_dir=name,
            num_train_epochs=3,
            learning_rate=1e-3,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=64,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )
        collate = transformers.DataCollatorWithPadding(tokenizer)
        trainer = transformers.Trainer(model=model, args=arguments, train_dataset=Rows(learn), data_collator=collate)
        trainer.train()
        spent = _spent(started)
        scores = trainer.predict(Rows(test)).predictions
    learning = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return {
        "predicted": [labels[place] for place in np.asarray(scores).argmax(axis=1)],
        **spent,
        "counts": {"trainable_parameters": learning, "parameters": sum(each.numel() for each in model.parameters())},
        "version": f"peft {peft.__version__}, transformers {transformers.__version__}",
    }


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _spent(started: tuple[float, float]) -> dict[str, Any]:
    """Return wall and CPU seconds since then, and no counts: what a method without weights of ours has."""
    return {"wall_s": time.perf_counter() - started[0], "cpu_s": time.process_time() - started[1], "counts": {}}
