"""record.py EVAL writes data/ and harness.json.gz: documents, and what lm-evaluation-harness made of the first of
them with beyonder-mini. EVAL has data/, expected/ and scoring-v0*.json as README.md says. Recorded are the first
documents in the order of evaluation, so that examples are drawn as for all."""
import gzip, json, os, shutil, sys

root, here = sys.argv[1], os.path.dirname(os.path.abspath(__file__))
DOCS = 2
LONG = ("gsm8k", "bigbench_geometric_shapes")  # that generate
TASKS = {
    "nous": {"base": "hellaswag openbookqa piqa winogrande truthfulqa_mc agieval_aqua_rat agieval_sat_math bigbench_snarks bigbench_geometric_shapes"},
    "openllm-v1": {"base": "hellaswag winogrande hendrycksTest"},
    "openllm-v1@512": {"math": "gsm8k"},
    "lm-eval-0.4": {"base": "hellaswag openbookqa piqa winogrande truthfulqa_mc1 truthfulqa_mc2 agieval_nous mmlu_stem", "math": "gsm8k"},
    "lm-eval-0.4@nobos": {"base": "openbookqa"},
    "lm-eval-0.4@seed7": {"base": "hellaswag"},
    "lm-eval-0.4@chat": {"base": "hellaswag winogrande"},
    "lm-eval-0.4@chat-multiturn": {"math": "winogrande"},
}
FOLDERS = """hellaswag openbookqa piqa winogrande truthfulqa_mc gsm8k agieval/aqua-rat agieval/sat-math mmlu/abstract_algebra mmlu/anatomy
bigbench/snarks.json bigbench/geometric_shapes.json""".split()
SUBJECTS = ("abstract_algebra", "anatomy")

for folder in FOLDERS:
    source, target = os.path.join(root, "data", folder), os.path.join(here, "data", folder)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.isfile(source):
        shutil.copyfile(source, target)
    else:
        os.makedirs(target, exist_ok=True)
        for name in os.listdir(source):
            with open(os.path.join(source, name), "rb") as f, gzip.GzipFile(os.path.join(target, name + ".gz"), "w", mtime=0) as out:
                out.write(f.read())

runs = []
for profile, models in TASKS.items():
    for model, tasks in models.items():
        for task in tasks.split():
            with open(os.path.join(root, "expected", profile, model, task + ".json")) as f:
                whole = json.load(f)
            by_task = {}
            for d in whole["docs"]:
                by_task.setdefault(d["task"], []).append(d)
            for name, docs in by_task.items():
                if name.startswith(("mmlu", "hendrycks")) and not name.endswith(SUBJECTS):
                    continue
                if name.startswith("agieval") and not name.endswith(("aqua_rat", "sat_math")):
                    continue
                for d in docs:
                    for r in d["requests"]:
                        r["new_tokens"] = len(r.pop("new_ids", []))
                        for key in ("cont_ids", "generation_kwargs", "request_args", "stop", "max_new_tokens", "generate_args", "chars"):
                            r.pop(key, None)
                    for key in ("target", "gold"):
                        d.pop(key, None)
                runs.append({
                    "profile": profile.split("@")[0], "model": model, "task": name, "shots": whole["num_fewshot"], "bos": whole["bos"],
                    "max_length": whole["max_length"], "seed": whole.get("fewshot_seed"), "chat": whole.get("chat", ""),
                    "version": str(whole["versions"][name]), "docs": docs[:1 if name in LONG else DOCS],
                })

scoring = {v: json.load(open(os.path.join(root, f"scoring-v{v}.json"))) for v in ("03", "04")}
with gzip.GzipFile(os.path.join(here, "harness.json.gz"), "w", mtime=0) as f:
    f.write(json.dumps({"runs": runs, "scoring": scoring}, separators=(",", ":")).encode())
