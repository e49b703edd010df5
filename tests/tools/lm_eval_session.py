#!/usr/bin/env python3
"""Runs lm-evaluation-harness's `local-completions` client against a running server of the demo model.

    pip install "lm-eval[api]" transformers
    mpirun -np 4 --bind-to none build/ternion serve configs/demo --tp 2 --pp 2
    tests/tools/lm_eval_session.py --url http://localhost:8000

The task is made up here: questions whose right answer is the demo model's own text, read from it first, and whose wrong
answer is the same words backwards. The harness asks for likelihoods (echo with logprobs, prompts as token ids), and must
find the model's own text the likelier one every time, with the log-probability that the server itself gave its tokens.
Prints ok or FAIL for every check; exits with 1 when one has failed, with 77 where the package is not installed.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile
import urllib.request

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

try:
    import lm_eval
    from lm_eval.tasks import TaskManager
    from transformers import PreTrainedTokenizerFast
except ImportError as error:
    print(f"SKIPPED: {error}; pip install \"lm-eval[api]\" transformers")
    sys.exit(77)

PROMPTS = ["A mutex is", "The std::vector class", "Templates are", "An iterator", "The driver", "A thread that waits"]

TASK = """
task: own_text
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""


def ask(url, key, **request):
    body = json.dumps({"model": "demo", "temperature": 0, **request}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    with urllib.request.urlopen(urllib.request.Request(url + "/v1/completions", body, headers), timeout=120) as answer:
        return json.load(answer)["choices"][0]


def make_documents(url, key):
    documents = []
    for prompt in PROMPTS:
        own = ask(url, key, prompt=prompt, max_tokens=12, ignore_eos=True)["text"]
        other = " " + " ".join(reversed(own.split()))
        documents.append({"question": prompt, "choices": [own, other], "answer": 0})
    return documents


def write_tokenizer(folder):
    demo = pathlib.Path(__file__).resolve().parents[2] / "configs" / "demo"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(demo / "tokenizer.json"), bos_token="<|begin_of_text|>",
                                        eos_token="<|end_of_text|>")
    tokenizer.save_pretrained(folder)
    return tokenizer


def own_likelihood(url, key, tokenizer, question, choice):
    """By one request of our own, cut where the harness cuts: behind the question's tokens."""
    whole = tokenizer.encode(question + choice, add_special_tokens=False)
    start = len(tokenizer.encode(question, add_special_tokens=False))
    told = ask(url, key, prompt=whole, max_tokens=0, echo=True, logprobs=1)["logprobs"]["token_logprobs"]
    return sum(told[start:])


def evaluate(url, key, folder):
    os.environ["OPENAI_API_KEY"] = key
    arguments = {"model": "demo", "base_url": url + "/v1/completions", "tokenizer_backend": "huggingface",
                 "tokenizer": str(folder / "tokenizer"), "num_concurrent": 2, "max_retries": 1, "max_length": 2048}
    return lm_eval.simple_evaluate(
        model="local-completions", model_args=arguments, tasks=["own_text"], bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://localhost:8000")
    parser.add_argument("--key", default="none")
    arguments = parser.parse_args()
    failed = 0

    def check(good, what):
        nonlocal failed
        failed += not good
        print(("ok    " if good else "FAIL  ") + what)

    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        tokenizer = write_tokenizer(folder / "tokenizer")
        documents = make_documents(arguments.url, arguments.key)
        data = folder / "documents.json"
        data.write_text("\n".join(json.dumps(document) for document in documents))
        (folder / "own_text.yaml").write_text(TASK.format(data=data))
        results = evaluate(arguments.url, arguments.key, folder)
        accuracy = results["results"]["own_text"]["acc,none"]
        check(accuracy == 1.0, f"the model's own text is the likelier one: accuracy {accuracy}")
        worst = 0.0
        for sample in results["samples"]["own_text"]:
            document = sample["doc"]
            for choice, (got, _) in zip(document["choices"], sample["filtered_resps"]):
                want = own_likelihood(arguments.url, arguments.key, tokenizer, document["question"], choice)
                worst = max(worst, abs(float(got) - want))
        check(worst < 1e-4, f"likelihoods are the server's own: off by {worst:.2g} at most")
    print(f"lm-eval {lm_eval.__version__}: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
