#!/usr/bin/env python3
"""Writes the table of docs/evaluating.md that has ggufkit's scores beside the harness's.

table.py EXPECTED GGUFKIT DATA MODEL [PAGE]: EXPECTED has the harness's results, as in openllm-v1/moe/arc_challenge.json. The model and its Q4_K_M are
evaluated by ggufkit on the same data, exactly and with int8 compute. The table is put between the marks of PAGE, or printed.
"""
import glob, json, os, re, subprocess, sys, tempfile

expected, ggufkit, data, model = sys.argv[1:5]
SUITES = {  # of a profile, its tasks: suite and title
    ("openllm-v1", "openllm"): [("openllm", "Open LLM Leaderboard")],
    ("nous", "nous"): [("agieval", "AGIEval"), ("gpt4all", "GPT4All"), ("truthfulqa", "TruthfulQA"), ("bigbench", "BIG-bench")],
}
MMLU = "hendrycksTest"


def evaluate(profile, tasks, compute):
    """Returns the model and its Q4_K_M: results by task, and averages."""
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "out.json")
        subprocess.run([ggufkit, "eval", model, "--profile", profile, "--tasks", tasks, "--data", data, "--types", "Q4_K_M", "--compute", compute,
                        "--output", out, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        with open(out) as f:
            found = json.load(f)
    return [({r["task"]: r for r in form["results"]}, form["averages"]) for form in [found] + found["candidates"]]


def harness(profile):
    found = {}
    for path in glob.glob(os.path.join(expected, profile, os.path.basename(model.rstrip("/")), "*.json")):
        with open(path) as f:
            found.update(json.load(f)["results"])
    return found


def percent(value, stderr=None):
    return f"{100 * value:.2f}" + (f" ± {100 * stderr:.2f}" if stderr is not None else "")


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def metric(result, name):
    return next(m for m in result["metrics"] if m["name"] == name)


lines = ["| task | examples | documents | metric | harness | ggufkit | int8 | Q4_K_M | Q4_K_M, int8 |", "|---|---:|---:|---|---:|---:|---:|---:|---:|"]
worst = 0.0
for (profile, tasks), suites in SUITES.items():
    want = harness(profile)
    exact, int8 = evaluate(profile, tasks, "exact"), evaluate(profile, tasks, "int8")
    forms = [exact[0], int8[0], exact[1], int8[1]]
    model_results = forms[0][0]
    for suite, title in suites:
        lines.append(f"| **{title}** |" + " |" * 8)
        of = sorted((r for r in model_results.values() if suite in r["groups"]), key=lambda r: r["task"])
        for r in of:
            for m in r["metrics"]:
                known = want.get(r["task"], {})
                if m["name"] in known:
                    worst = max(worst, abs(known[m["name"]] - m["value"]), abs(known[m["name"] + "_stderr"] - m["stderr"]))
        subjects = [r["task"] for r in of if r["task"].startswith(MMLU)]
        for r in [r for r in of if r["task"] not in subjects[1:]]:
            head = f"| {r['task']} | {r['num_fewshot']} | {r['n']} "
            if r["task"] in subjects:
                head = f"| {MMLU}, {len(subjects)} subjects | {r['num_fewshot']} | {sum(model_results[s]['n'] for s in subjects)} "
            for m in r["metrics"]:
                name, known = m["name"], want.get(r["task"], {})
                if r["task"] in subjects:
                    cells = [percent(mean(want[s][name] for s in subjects))] + [percent(mean(metric(f[s], name)["value"] for s in subjects)) for f, _ in forms]
                else:
                    cells = [percent(known[name], known[name + "_stderr"]) if name in known else "not recorded"]
                    cells += [percent(metric(f[r["task"]], name)["value"], metric(f[r["task"]], name)["stderr"]) for f, _ in forms]
                lines.append(f"{head}| {name} | {' | '.join(cells)} |")
                head = "| | | "
        cells = ["not recorded"]
        if all(m["name"] in want.get(r["task"], {}) for r in of for m in r["metrics"]):
            cells = [percent(mean(want[r["task"]][r["main_metric"]] for r in of))]  # none of these suites has MMLU
        cells += [percent(averages[suite]) for _, averages in forms]
        lines.append(f"| mean | | | | {' | '.join(cells)} |")
table = "\n".join(lines) + "\n"
print(f"largest difference of a figure or a standard error from the harness: {worst:.1g}", file=sys.stderr)
if len(sys.argv) > 5:
    with open(sys.argv[5], encoding="utf-8") as f:
        page = f.read()
    page, n = re.subn(r"(<!-- table.py -->\n).*?(<!-- end -->\n)", lambda m: m[1] + table + m[2], page, flags=re.S)
    assert n == 1
    with open(sys.argv[5], "w", encoding="utf-8") as f:
        f.write(page)
else:
    print(table, end="")
