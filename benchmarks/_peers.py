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

    used = time.process_time()
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, characters), LinearSVC())
    learn = [row for row in rows if row.split != "test"]
    model.fit([row.text for row in learn], [row.label for row in learn])
    predicted = model.predict([row.text for row in rows if row.split == "test"])
    return {
        "predicted": [str(label) for label in predicted],
        "cpu_s": time.process_time() - used,
        "version": f"scikit-learn {sklearn.__version__}, words 1-2 and characters 2-5, LinearSVC()",
    }


def tfidf(rows: Sequence[Example]) -> dict[str, Any]:
    """mercat's own simple baseline, which every evaluation stands beside."""
    from mercat.evaluation.baselines import TfidfLinear

    used = time.process_time()
    learn = [row for row in rows if row.split != "test"]
    model = TfidfLinear().fit([row.text for row in learn], [row.label for row in learn])
    predicted = model.predict([row.text for row in rows if row.split == "test"])
    return {"predicted": predicted, "cpu_s": time.process_time() - used, "version": TfidfLinear.name}


def setfit(rows: Sequence[Example]) -> dict[str, Any]:
    """SetFit on MiniLM: contrastive pairs, then logistic regression."""
    try:
        import setfit as library
        from datasets import Dataset
    except ImportError as error:
        raise Missing("SetFit: pip install -r benchmarks/requirements-intents.txt") from error
    from mercat.encoders.transformer import Transformer

    used = time.process_time()
    learn = [row for row in rows if row.split != "test"]
    model = library.SetFitModel.from_pretrained(str(Transformer("all-MiniLM-L6-v2").checkpoint.folder))
    arguments = library.TrainingArguments(num_iterations=SETFIT_PAIRS, seed=0)
    given = Dataset.from_dict({"text": [row.text for row in learn], "label": [row.label for row in learn]})
    library.Trainer(model=model, args=arguments, train_dataset=given).train()
    predicted = model.predict([row.text for row in rows if row.split == "test"])
    return {
        "predicted": [str(label) for label in predicted],
        "cpu_s": time.process_time() - used,
        "version": f"setfit {library.__version__}, num_iterations={SETFIT_PAIRS}",
    }
