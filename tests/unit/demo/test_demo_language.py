"""The demo's language, tasks and encoder: labels are derived again here from the words alone, by other code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.demo import language, opinions, tasks

NAMES = ("syn-cola", "syn-sst2", "syn-stsb", "syn-mnli")
ENCODER = Path(language.__file__).parent / "encoder"
FIRST_SENTENCES = {
    "syn-cola": "the monkey that rests are quiet .",
    "syn-sst2": "the songs are awful , and the actors are dreadful .",
    "syn-stsb": "it is true that it is the small nurses that hinder the small rabbits .",
    "syn-mnli": "it is the old hens that do not revere this old rider .",
}
SINGULAR = {plural: noun for noun, plural in language.PLURAL.items()}


@pytest.fixture(scope="module")
def frames() -> dict[str, dict[str, pd.DataFrame]]:
    return {name: tasks.load(name) for name in NAMES}


def text_columns(name: str) -> list[str]:
    return list(tasks.TASKS[name][1])


# --- the frames ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_loading_twice_gives_the_same_frames(frames, name):
    again = tasks.load(name)
    assert list(again) == list(frames[name])
    for split, frame in again.items():
        pd.testing.assert_frame_equal(frame, frames[name][split])


def test_the_random_stream_is_the_documented_one(frames):
    """A changed generator must not pass for the same data: the first sentence of each task, word for word."""
    first = {name: frames[name]["train"].loc[0, text_columns(name)[0]] for name in NAMES}
    assert first == FIRST_SENTENCES


@pytest.mark.parametrize("name", NAMES)
def test_no_example_is_in_two_splits_or_twice_in_one(frames, name):
    texts = pd.concat([frame[text_columns(name)] for frame in frames[name].values()])
    assert not texts.duplicated().any()


@pytest.mark.parametrize("name", NAMES)
def test_columns_and_row_numbers(frames, name):
    for frame in frames[name].values():
        assert list(frame.columns) == [*text_columns(name), "label", "idx"]
        assert frame["idx"].tolist() == list(range(len(frame)))


@pytest.mark.parametrize(
    ("name", "shares"), [("syn-cola", (0.4, 0.6)), ("syn-sst2", (0.5, 0.5)), ("syn-mnli", (1 / 3,) * 3)]
)
def test_labels_are_balanced_as_intended(frames, name, shares):
    for frame in frames[name].values():
        measured = frame["label"].value_counts(normalize=True).sort_index()
        assert measured.index.tolist() == list(range(len(shares)))
        assert measured.tolist() == pytest.approx(shares, abs=0.07)


def test_similarities_fill_the_scale(frames):
    for frame in frames["syn-stsb"].values():
        assert frame["label"].between(0, 5).all()
        assert frame["label"].min() < 1
        assert frame["label"].max() == 5
        assert frame["label"].std() > 1


def test_mismatched_split_is_about_nouns_the_training_split_lacks(frames):
    own = {form for noun in language.nouns_of(tasks.NEW_TOPIC) for form in (noun, language.PLURAL[noun])}

    def words(split: str) -> set[str]:
        frame = frames["syn-mnli"][split]
        return set(" ".join(frame["premise"] + " " + frame["hypothesis"]).split())

    assert not (words("train") | words("validation_matched")) & own
    assert len(words("validation_mismatched") & own) == len(own)


def test_an_unknown_task_is_named_with_the_known_ones():
    with pytest.raises(KeyError, match=r"syn-qqp.*syn-cola.*syn-mnli"):
        tasks.load("syn-qqp")


# --- syn-cola: a recogniser of the grammar, with agreement -----------------------------------------------------------

TRANSITIVE = {
    form: number for lemma, (third, _) in language.VERB_FORMS.items() for form, number in ((lemma, 1), (third, 0))
}
ALONE = {form: number for lemma, third in language.INTRANSITIVE.items() for form, number in ((lemma, 1), (third, 0))}
PARTICIPLES = {participle for _, participle in language.VERB_FORMS.values()}
COPULA, AUXILIARY, REFLEXIVE = {"is": 0, "are": 1}, {"does": 0, "do": 1}, {"itself": 0, "themselves": 1}


class Recogniser:
    """Every way to read a sentence of `Syntax`; ends of a constituent are yielded, so that all readings are tried."""

    def __init__(self, sentence: str):
        self.words = [*sentence.removesuffix(" .").split(), "<end>"]

    def accepts(self) -> bool:
        no = self.words[0] == "no"
        return any(
            self.words[end] == "<end>" and ever == no
            for start, number in self.phrase(0, ("the", "this", "these", "no"))
            for end, ever in self.predicate(start, number, no)
        )

    def phrase(self, at: int, determiners: tuple[str, ...] = ("the", "this", "these")) -> Iterator[tuple[int, int]]:
        if self.words[at] not in determiners or at + 1 >= len(self.words):
            return
        noun = self.words[at + 1]
        number = int(noun in SINGULAR)
        if noun not in language.PLURAL and noun not in SINGULAR:
            return
        if {"this": 0, "these": 1}.get(self.words[at], number) != number:
            return
        yield at + 2, number
        for end in self.modifier(at + 2, number):
            yield end, number

    def modifier(self, at: int, number: int) -> Iterator[int]:
        if self.words[at] in language.PLACES:
            yield from (end for end, _ in self.phrase(at + 1))
        if self.words[at] != "that":
            return
        verb = self.words[at + 1]
        if ALONE.get(verb) == number:
            yield at + 2
        if TRANSITIVE.get(verb) == number:
            yield from (end for end, _ in self.phrase(at + 2))
        for end, inner in self.phrase(at + 1):
            if TRANSITIVE.get(self.words[end]) == inner:
                yield end + 1
                if self.words[end + 1] in language.PLACES:
                    yield from (after for after, _ in self.phrase(end + 2))

    def predicate(self, at: int, number: int, no: bool) -> Iterator[tuple[int, bool]]:
        ever = self.words[at] == "ever"
        at += ever
        verb = self.words[at]
        if ALONE.get(verb) == number:
            yield at + 1, ever
            if self.words[at + 1] == "and":
                yield from ((end, ever) for end, late in self.predicate(at + 2, number, False) if not late)
        if TRANSITIVE.get(verb) == number:
            if REFLEXIVE.get(self.words[at + 1]) == number:
                yield at + 2, ever
            yield from ((end, ever) for end, _ in self.phrase(at + 1))
        if COPULA.get(verb) == number:
            late = self.words[at + 1] == "ever"
            at += late
            if self.words[at + 1] in language.ADJECTIVES:
                yield at + 2, late
            if self.words[at + 1] in PARTICIPLES and self.words[at + 2] == "by":
                yield from ((end, late) for end, _ in self.phrase(at + 3))
        denied = self.words[at + 1] == ("ever" if no else "not") and self.words[at + 2] in language.VERB_FORMS
        if AUXILIARY.get(verb) == number and denied:
            yield from ((end, no) for end, _ in self.phrase(at + 3))


def test_acceptability_is_what_a_recogniser_of_the_grammar_says(frames):
    for frame in frames["syn-cola"].values():
        judged = [int(Recogniser(sentence).accepts()) for sentence in frame["sentence"]]
        assert frame["sentence"][frame["label"] != judged].tolist() == []


# --- syn-sst2: polarity by reading clauses ---------------------------------------------------------------------------


def clause_polarity(words: str) -> bool:
    denials = sum(phrase in words for phrase in ("doubt", "nobody thinks", "wrong to say", "no critic", "deny"))
    tail = words.split(" is " if " is " in words.replace("it is ", "") else " are ")[-1]
    denials += any(tail.startswith(word) for word in ("not ", "never ", "hardly ", "far from "))
    good = tail.split()[-1] in opinions.GOOD
    return good if denials % 2 == 0 else not good


def review_polarity(sentence: str) -> bool:
    clauses = sentence.removesuffix(" .").split(" , ")
    if len(clauses) == 1:
        return clause_polarity(clauses[0])
    ruling = clauses[0] if clauses[1].startswith("although ") else clauses[1]
    return clause_polarity(ruling)


def test_polarity_is_that_of_the_ruling_clause(frames):
    for frame in frames["syn-sst2"].values():
        assert [int(review_polarity(s)) for s in frame["sentence"]] == frame["label"].tolist()


# --- syn-stsb and syn-mnli: events read back from the words ----------------------------------------------------------

FORMS = {form: lemma for lemma, forms in language.VERB_FORMS.items() for form in (lemma, *forms)}
MEANING = {lemma: (name, False) for name, c in language.CONCEPTS.items() for lemma in c.words} | {
    lemma: (name, True) for name, c in language.CONCEPTS.items() for lemma in c.converse
}
Reading = tuple[tuple[str, bool, str | None], str, tuple[str, bool, str | None], bool]


def who(words: list[str]) -> tuple[str, bool, str | None]:
    noun = words[-1]
    return SINGULAR.get(noun, noun), noun in SINGULAR, words[1] if len(words) == 3 else None


def read(sentence: str) -> Reading:
    """(agent, concept, patient, positive) of a rendered event."""
    words = sentence.removesuffix(" .").split()
    positive = True
    if words[:2] == ["it", "is"] and words[2] in ("true", "false"):
        positive, words = words[2] == "true", words[4:]
    for place in set(words) & set(language.PLACES):
        start = words.index(place)
        words = words[:start] + words[start + 3 :]
    if "not" in words:
        positive, words = not positive, [word for word in words if word != "not"]
    words = [word for word in words if word not in ("do", "does")]
    front: list[str] = []
    if words[:2] == ["it", "is"]:
        that = words.index("that")
        front, words = words[2:that], words[that + 1 :]
    verb = next(i for i, word in enumerate(words) if word in FORMS)
    lemma = FORMS[words[verb]]
    if "by" in words:
        subject, thing = words[words.index("by") + 1 :], words[: verb - 1]
    elif front:
        subject, thing = (front, words[1:]) if verb == 0 else (words[:verb], front)
    else:
        subject, thing = words[:verb], words[verb + 1 :]
    concept, exchanged = MEANING[lemma]
    agent, patient = (thing, subject) if exchanged else (subject, thing)
    return who(agent), concept, who(patient), positive


def says_of(general: tuple[str, bool, str | None], specific: tuple[str, bool, str | None]) -> bool:
    names = {specific[0], "creature", "person" if specific[0] in language.PERSON else "animal"}
    return general[0] in names and general[1] == specific[1] and general[2] in (None, specific[2])


def inferred(premise: Reading, hypothesis: Reading) -> int:
    if not (says_of(hypothesis[0], premise[0]) and says_of(hypothesis[2], premise[2])):
        return 1
    opposites = {("help", "hinder"), ("praise", "blame"), ("greet", "ignore"), ("push", "pull")}
    if premise[1] == hypothesis[1]:
        return 0 if premise[3] == hypothesis[3] else 2
    if premise[3] and ((premise[1], hypothesis[1]) in opposites or (hypothesis[1], premise[1]) in opposites):
        return 2 if hypothesis[3] else 0
    return 1


def test_inference_follows_from_the_events_read_back(frames):
    for frame in frames["syn-mnli"].values():
        pairs = zip(frame["premise"], frame["hypothesis"], strict=True)
        assert [inferred(read(p), read(h)) for p, h in pairs] == frame["label"].tolist()


def as_event(reading: Reading) -> language.Event:
    agent, concept, patient, positive = reading
    return language.Event(language.Entity(*agent), concept, language.Entity(*patient), positive)


def test_similarity_follows_from_the_events_read_back(frames):
    for frame in frames["syn-stsb"].values():
        pairs = zip(frame["sentence1"], frame["sentence2"], strict=True)
        measured = [language.similarity(as_event(read(a)), as_event(read(b))) for a, b in pairs]
        assert measured == pytest.approx(frame["label"].tolist(), abs=0.006)


def test_similarity_by_hand():
    dog, goat = language.Entity("dog", False, "big"), language.Entity("goat", True)
    chase = language.Event(dog, "chase", goat)
    assert language.similarity(chase, chase) == 5
    assert language.similarity(chase, language.Event(dog, "chase", goat, positive=False)) == 3.5
    # roles exchanged: the verb (2), and 0.2 of each filler for being an animal too
    assert language.similarity(chase, language.Event(goat, "chase", dog)) == pytest.approx(2 + 2 * 1.5 * 0.2)


# --- the encoder -----------------------------------------------------------------------------------------------------


def test_encoder_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in ENCODER.iterdir()) <= 6_000_000


def test_tokenizer_knows_every_word_and_lays_out_pairs(frames):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(ENCODER)
    for name in NAMES:
        for frame in frames[name].values():
            encoded = tokenizer(*[frame[column].tolist() for column in text_columns(name)])
            assert all(tokenizer.unk_token_id not in ids for ids in encoded["input_ids"])
            assert max(map(len, encoded["input_ids"])) <= 64
    pair = tokenizer("the dog sleeps .", "it rests .")
    assert tokenizer.decode(pair["input_ids"]) == "[CLS] the dog sleeps . [SEP] it rests . [SEP]"
    assert pair["token_type_ids"] == [0] * 6 + [1] * 4


def test_encoder_loads_with_every_weight_and_guesses_a_masked_word():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(ENCODER)
    classifier, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        ENCODER, dtype=torch.float32, num_labels=3, output_loading_info=True
    )
    assert set(report["missing_keys"]) == {"classifier.weight", "classifier.bias"}
    assert classifier.config.num_hidden_layers == 12
    assert classifier.config.hidden_size == 128
    model = transformers.AutoModelForMaskedLM.from_pretrained(ENCODER, dtype=torch.float32).eval()
    encoded = tokenizer("the dogs near the goat [MASK] not chase the hen .", return_tensors="pt")
    with torch.no_grad():
        guess = model(**encoded).logits[encoded["input_ids"] == tokenizer.mask_token_id].argmax(-1)
    assert tokenizer.decode(guess) == "do"


def test_pretraining_writes_what_is_shipped(tmp_path):
    pytest.importorskip("transformers")
    from benchmarks.demo import pretrain

    recipe = pretrain.Recipe(documents=2_048, stages=((1, 1, 1e-3), (2, 1, 1e-3)), batch_size=64)
    pretrain.pretrain(recipe, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in ENCODER.iterdir()}
    written, shipped = (json.loads((folder / "pretraining.json").read_text()) for folder in (tmp_path, ENCODER))
    assert list(written) == list(shipped)
    assert (tmp_path / "tokenizer.json").read_bytes() == (ENCODER / "tokenizer.json").read_bytes()
    full = json.loads(json.dumps([pretrain.Recipe.stages, pretrain.Recipe.seed]))
    assert [shipped["stages"], shipped["seed"]] == full


@pytest.mark.parametrize("arguments", [["--share", "0.1"], ["--share", "0", "--output", "elsewhere"]])
def test_a_quick_look_does_not_replace_the_shipped_encoder(arguments, monkeypatch, capsys):
    pytest.importorskip("transformers")
    from benchmarks.demo import pretrain

    monkeypatch.setattr(pretrain, "pretrain", lambda *_: pytest.fail("pretraining started"))
    with pytest.raises(SystemExit):
        pretrain.main(arguments)
    assert "--share" in capsys.readouterr().err
