package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// files of the model that most tables are about: its checkpoint, and it as a GGUF file of a type.
func (b *bench) files(fileType string) (dir, path string, err error) {
	if dir, err = b.checkpoint("model", b.shape); err != nil {
		return "", "", err
	}
	path = filepath.Join(b.dir, "model-"+fileType+".gguf")
	if _, err := os.Stat(path); err == nil {
		return dir, path, nil
	}
	_, _, err = b.run(b.ours("convert", dir, path, "--type", fileType)...)
	return dir, path, err
}

// compared is a table of what commands of ours and of a peer took, and how many times more the peer did.
func (b *bench) compared(label string, ours []string, peerLabel string, peer []string) (table, error) {
	commands := [][]string{ours}
	if peer != nil {
		commands = append(commands, peer)
	}
	costs, err := b.measure(commands...)
	if err != nil {
		return nil, err
	}
	t := table{{"", "wall", "CPU", "peak memory"}}
	for i, c := range costs {
		t.add(append(append([]string{"`" + []string{label, peerLabel}[i] + "`"}, c.seconds()...), c.memory())...)
	}
	if peer != nil {
		t.add(append([]string{"ratio"}, costs[0].over(costs[1])...)...)
	}
	return t, nil
}

// convert converts a checkpoint to BF16.
func convert(b *bench) (table, error) {
	dir, err := b.checkpoint("model", b.shape)
	if err != nil {
		return nil, err
	}
	out := filepath.Join(b.dir, "out.gguf")
	return b.compared("ggufkit convert", b.ours("convert", dir, out, "--type", "BF16"),
		"convert_hf_to_gguf.py", b.peer("convert_hf_to_gguf.py", dir, "--outfile", filepath.Join(b.dir, "theirs.gguf"), "--outtype", "bf16"))
}

// quantizeModel quantizes it to Q4_K_M.
func quantizeModel(b *bench) (table, error) {
	_, path, err := b.files("BF16")
	if err != nil {
		return nil, err
	}
	return b.compared("ggufkit quantize", b.ours("quantize", path, filepath.Join(b.dir, "out.gguf"), "Q4_K_M"),
		"llama-quantize", b.peer("llama-quantize", path, filepath.Join(b.dir, "theirs.gguf"), "Q4_K_M", strconv.Itoa(b.threads)))
}

// recipe merges four models of two layers, and quantizes the result by all ways there are.
func recipe(b *bench) (table, error) {
	s := donor
	if b.shape == small {
		s = small
		s.experts = 0
	}
	yaml := "base_model: ./base\ngate_mode: cheap_embed\ndtype: bfloat16\nexperts:\n"
	for _, name := range []string{"base", "a", "b", "c", "d"} {
		if _, err := b.checkpoint(name, s); err != nil {
			return nil, err
		}
		if name != "base" {
			yaml += fmt.Sprintf("  - {source_model: ./%s, positive_prompts: [%s]}\n", name, strings.Repeat(name, 8))
		}
	}
	path := filepath.Join(b.dir, "moe.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o666); err != nil {
		return nil, err
	}
	merged, bf16, out := filepath.Join(b.dir, "merged"), filepath.Join(b.dir, "merged.gguf"), filepath.Join(b.dir, "out.gguf")
	for _, command := range [][]string{b.ours("merge", path, merged), b.ours("convert", merged, bf16, "--type", "BF16")} {
		if _, _, err := b.run(command...); err != nil {
			return nil, err
		}
	}
	costs, err := b.measure(b.ours("convert", path, out, "--type", "Q4_K_M"), b.ours("convert", merged, out, "--type", "Q4_K_M"),
		b.ours("quantize", bf16, out, "Q4_K_M"), b.ours("merge", path, merged))
	if err != nil {
		return nil, err
	}
	t := table{{"", "CPU", "wall", "peak memory"}}
	for i, label := range []string{
		"`convert moe.yaml out.gguf --type Q4_K_M`", "`convert DIR out.gguf --type Q4_K_M` of what `merge` writes", "`quantize bf16.gguf out.gguf Q4_K_M`",
		"`merge moe.yaml DIR`",
	} {
		t.add(label, costs[i].seconds()[1], costs[i].seconds()[0], costs[i].memory())
	}
	return t, nil
}

// speed is a result of ggufkit bench.
type speed struct {
	Op, Type, ISA, Compute string
	Threads                int
	Value                  float64
}

// throughput runs ggufkit bench, and returns its results in their order, of the threads asked for.
func (b *bench) throughput(args ...string) ([]speed, error) {
	if b.types != "" {
		args = append(args, "--types", b.types)
	} else if b.shape == small {
		args = append(args, "--types", "Q4_K,Q8_0")
	}
	_, out, err := b.run(b.ours(append([]string{"bench", "--json"}, args...)...)...)
	if err != nil {
		return nil, err
	}
	var report struct{ Results []speed }
	if err := json.Unmarshal(out, &report); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(report.Results, func(r speed) bool { return r.Threads != b.threads }), nil
}

// tiers makes a table of results: a row for each type and operation, a column for each instruction set, and if a peer's
// are there by row, the ratios to these.
func tiers(results []speed, label func(speed) string, peer map[string]float64) table {
	names := map[string]string{"generic": "generic Go", "avx2": "AVX2", "avx512": "AVX-512", "neon": "NEON"}
	var sets, rows []string
	cells := make(map[[2]string]float64)
	for _, r := range results {
		row := label(r)
		if !slices.Contains(sets, r.ISA) {
			sets = append(sets, r.ISA)
		}
		if !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
		cells[[2]string{row, r.ISA}] = r.Value
	}
	head := []string{"type"}
	if peer != nil {
		head = append(head, "ggml")
	}
	for _, set := range sets {
		head = append(head, names[set])
	}
	if peer != nil {
		for _, set := range sets[1:] {
			head = append(head, names[set]+" : ggml")
		}
	}
	t := table{head}
	for _, row := range rows {
		line := []string{row}
		if peer != nil {
			line = append(line, format(peer[row]))
		}
		for _, set := range sets {
			line = append(line, format(cells[[2]string{row, set}]))
		}
		if peer != nil {
			for _, set := range sets[1:] {
				line = append(line, ratio(cells[[2]string{row, set}], peer[row]))
			}
		}
		t.add(line...)
	}
	return t
}

func quantizeLabel(r speed) string {
	if r.Op == "quantize+imatrix" {
		return r.Type + ", importance matrix"
	}
	return r.Type
}

// quantize measures the codecs, in million weights a second.
func quantize(b *bench) (table, error) {
	results, err := b.throughput("quantize")
	if err != nil {
		return nil, err
	}
	unweighted := []string{"F32", "F16", "BF16", "Q8_0", "MXFP4", "NVFP4", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0"} // an importance matrix changes nothing
	results = slices.DeleteFunc(results, func(r speed) bool {
		return r.Op == "dequantize" || r.Op == "quantize+imatrix" && slices.Contains(unweighted, r.Type)
	})
	var peer map[string]float64
	if b.ggml != "" {
		types := []string{"docs/bench/ggml.py", b.ggml}
		for _, r := range results {
			if !slices.Contains(types, r.Type) {
				types = append(types, r.Type)
			}
		}
		_, out, err := b.run(append([]string{"python3"}, types...)...)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(out, &peer); err != nil {
			return nil, err
		}
	}
	return tiers(results, quantizeLabel, peer), nil
}

// reading measures dequantizing, in GB of float32 a second.
func reading(b *bench) (table, error) {
	results, err := b.throughput("quantize")
	if err != nil {
		return nil, err
	}
	results = slices.DeleteFunc(results, func(r speed) bool { return r.Op != "dequantize" })
	return tiers(results, quantizeLabel, nil), nil
}

// score takes in tokens, in windows of 512, as llama-bench's pp512.
func score(b *bench) (table, error) {
	return b.models([]string{"Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K", "BF16", "BF16, exact compute"}, "ggufkit, int8",
		[]string{"-p", "512", "-n", "0"}, func(path, name string) rate {
			compute := "int8"
			if strings.HasSuffix(name, "exact compute") {
				compute = "exact"
			}
			return b.scored(path, compute)
		})
}

// scored is how fast a model scores text.
func (b *bench) scored(path, compute string) rate {
	return rate{b.ours("bench", "perplexity", path, "--compute", compute, "--json"), func(out []byte) (float64, error) {
		var report struct{ Results []speed }
		err := json.Unmarshal(out, &report)
		for _, r := range report.Results {
			if r.Threads == b.threads {
				return r.Value, err
			}
		}
		return 0, errors.Join(err, errors.New("no speed"))
	}}
}

// generate continues a short prompt by 64 tokens, as llama-bench's tg64.
func generate(b *bench) (table, error) {
	return b.models([]string{"Q4_K_M", "Q8_0", "Q5_K_M", "Q3_K_M", "Q2_K", "IQ4_XS", "BF16"}, "ggufkit",
		[]string{"-p", "0", "-n", "64"}, func(path, _ string) rate {
			return rate{b.ours("generate", path, "-p", "The", "--temp", "0", "-n", "65", "--json"), func(out []byte) (float64, error) {
				var report struct {
					TokensPerSecond float64 `json:"tokens_per_second"`
				}
				return report.TokensPerSecond, json.Unmarshal(out, &report)
			}}
		})
}

// models measures tokens a second with the model in some types, beside llama-bench. What follows a comma
// in the name of a type is for ours to know.
func (b *bench) models(types []string, label string, peerArgs []string, ours func(path, name string) rate) (table, error) {
	if b.shape == small {
		types = types[:2]
	}
	t := table{{"type", label}}
	for _, name := range b.selected(types...) {
		fileType, _, _ := strings.Cut(name, ",")
		_, path, err := b.files(fileType)
		if err != nil {
			return nil, err
		}
		cells, err := b.besidePeer(path, peerArgs, ours(path, name))
		if err != nil {
			return nil, err
		}
		if len(cells) > 1 {
			t[0] = []string{"type", "llama.cpp", label, "ratio"}
		}
		t.add(append([]string{name}, cells...)...)
	}
	return t, nil
}

// besidePeer measures a rate of ours, in turn with llama-bench if that is there: theirs, ours and the ratio.
func (b *bench) besidePeer(path string, peerArgs []string, ours rate) ([]string, error) {
	rates := []rate{ours}
	args := append(slices.Clone(peerArgs), "-m", path, "-t", strconv.Itoa(b.threads), "-r", "1", "-o", "json")
	if peer := b.peer("llama-bench", args...); peer != nil {
		rates = append(rates, rate{peer, func(out []byte) (float64, error) {
			var report []struct {
				Speed float64 `json:"avg_ts"`
			}
			if err := json.Unmarshal(out, &report); err != nil || len(report) != 1 {
				return 0, errors.Join(err, errors.New("llama-bench does not give one speed"))
			}
			return report[0].Speed, nil
		}})
	}
	speeds, err := b.rates(rates...)
	if err != nil {
		return nil, err
	}
	if len(speeds) == 1 {
		return []string{format(speeds[0])}, nil
	}
	return []string{format(speeds[1]), format(speeds[0]), strconv.FormatFloat(speeds[0]/speeds[1], 'f', 2, 64)}, nil
}

// text returns the path of one that is long enough for some windows.
func (b *bench) text() (string, error) {
	paths, err := filepath.Glob("testdata/texts/*.txt")
	if err != nil {
		return "", err
	}
	var all []byte
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		all = append(all, text...)
	}
	path := filepath.Join(b.dir, "text.txt")
	return path, os.WriteFile(path, all, 0o666)
}

// memory scores a model that is larger than it may take, from the disk.
func memory(b *bench) (table, error) {
	_, path, err := b.files("BF16")
	if err != nil {
		return nil, err
	}
	text, err := b.text()
	if err != nil {
		return nil, err
	}
	t := table{{"", "tokens", "peak memory", "weights read", "seconds of CPU"}}
	for _, run := range []struct {
		limit  string
		chunks int
	}{{"660M", 10}, {"200M", 4}, {"4G", 4}} {
		var costs []cost
		var report struct {
			Read  int64 `json:"read_bytes"`
			Bytes int64 `json:"file_bytes"`
		}
		for range b.runs {
			if _, _, err := b.run("dd", "if="+path, "iflag=nocache", "count=0"); err != nil { // drops it from the page cache
				return nil, err
			}
			c, out, err := b.run(b.ours("perplexity", path, "-f", text, "--chunks", strconv.Itoa(run.chunks), "--memory", run.limit, "--json")...)
			if err == nil {
				err = json.Unmarshal(out, &report)
			}
			if err != nil {
				return nil, err
			}
			costs = append(costs, c)
		}
		t.add("`--memory "+run.limit+"`", fmt.Sprintf("%d windows of 512", run.chunks),
			fmt.Sprintf("%.0f MB", median(costs, func(c cost) float64 { return c.peak })/1e6),
			fmt.Sprintf("%.1f times", float64(report.Read)/float64(report.Bytes)), format(median(costs, func(c cost) float64 { return c.cpu })))
	}
	return t, nil
}

// drift measures eight types at once, or with llama.cpp's tools one after another: seconds of CPU.
func drift(b *bench) (table, error) {
	_, original, err := b.files("BF16")
	if err != nil {
		return nil, err
	}
	text, err := b.text()
	if err != nil {
		return nil, err
	}
	types := b.selected("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "IQ3_S", "Q2_K")
	ours, err := b.measure(b.ours("drift", original, "-f", text, "--types", strings.Join(types, ","), "--chunks", "4", "--memory", "1G"))
	if err != nil {
		return nil, err
	}
	if b.peer("llama-quantize") == nil || b.peer("llama-perplexity") == nil {
		return table{{"", "`ggufkit drift`"}, {"together", format(ours[0].cpu)}, {"peak memory", ours[0].memory()}}, nil
	}
	threads, logits := strconv.Itoa(b.threads), filepath.Join(b.dir, "logits")
	score := func(path string, args ...string) []string {
		return b.peer("llama-perplexity", append([]string{"-m", path, "-f", text, "-c", "512", "--chunks", "4", "-t", threads,
			"--kl-divergence-base", logits}, args...)...)
	}
	base, err := b.measure(score(original))
	if err != nil {
		return nil, err
	}
	t := table{{"", "llama-quantize", "llama-perplexity", "`ggufkit drift`"}, {"the original (logits saved)", "", format(base[0].cpu), ""}}
	var quantizing, scoring cost
	written := int64(0)
	add := func(sum *cost, c cost) { sum.cpu, sum.peak = sum.cpu+c.cpu, max(sum.peak, c.peak) }
	add(&scoring, base[0])
	for _, name := range types {
		path := filepath.Join(b.dir, "scored.gguf")
		costs, err := b.measure(b.peer("llama-quantize", original, path, name, threads), score(path, "--kl-divergence"))
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		written += info.Size()
		t.add(name, format(costs[0].cpu), format(costs[1].cpu), "")
		add(&quantizing, costs[0])
		add(&scoring, costs[1])
	}
	t.add("together", format(quantizing.cpu), format(scoring.cpu), format(ours[0].cpu))
	info, err := os.Stat(logits)
	if err != nil {
		return nil, err
	}
	t.add("written", fmt.Sprintf("%.1f GB", float64(written)/1e9), fmt.Sprintf("%.0f MB", float64(info.Size())/1e6), "nothing")
	t.add("peak memory", quantizing.memory(), scoring.memory(), ours[0].memory())
	return t, nil
}
