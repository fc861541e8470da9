package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/report"
)

// The machines of docs/scale.md: cores as fast as the ones whose figures are in docs/scale.
var scaleMachines = []struct {
	name, rates, memory, threads string
	part                         []string
}{
	{"laptop", "avx2.json", "8G", "8", nil},
	{"workstation", "avx512.json", "64G", "32", nil},
	{"8 nodes", "avx512.json", "128G", "64", []string{"--part", "1/8", "--results", "kept"}},
}

// scaleWhole is the machine that core hours, bytes and memory are shown of.
const scaleWhole = 1

// What is asked of the models, and whether that runs them.
var scaleTasks = []struct {
	name string
	runs bool
	args func(model, text string) []string
}{
	{"one file, Q4_K_M", false, func(model, _ string) []string { return []string{"publish", model, "out", "--types", "Q4_K_M"} }},
	{"publish, the standard 24 types", false, func(model, text string) []string {
		return []string{"publish", model, "out", "--imatrix", "auto", "--calibration", text, "--chunks", "64"}
	}},
	{"imatrix, 64 windows", true, func(model, text string) []string {
		return []string{"imatrix", model, "-f", text, "--chunks", "64", "-o", "imatrix.gguf"}
	}},
	{"drift, 8 types, 64 windows", true, func(model, text string) []string {
		return []string{"drift", model, "-f", text, "--chunks", "64", "--types", "Q8_0,Q6_K,Q5_K_M,Q4_K_M,IQ4_XS,Q3_K_M,Q3_K_S,Q2_K"}
	}},
}

// The tables of docs/scale.md are what --dry-run says. The first model is asked each time, the others with -update, since that takes a minute.
func TestScalePage(t *testing.T) {
	if runtime.GOOS != "linux" || testing.Short() {
		t.Skip("needs sparse files of a terabyte, and takes long where races are looked for")
	}
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	page := filepath.Join(root, "docs", "scale.md")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	models := []struct {
		name  string
		shape shape
	}{
		{"24 B: Mixtral of 4 experts, Beyonder-4x7B", beyonder()},
		{"70 B: Llama 3", llama(8192, 28672, 80, 8, 128256)},
		{"671 B: DeepSeek V3", deepSeekV3()},
	}
	if !*update {
		models = models[:1]
	}
	for _, m := range models {
		head := "| " + m.name + " | "
		begin := strings.Index(string(text), head)
		require.GreaterOrEqual(t, begin, 0, head)
		length := strings.Index(string(text[begin:]), "\n\n")
		table := scaleTable(t, root, head, m.shape)
		if *update {
			text = []byte(string(text[:begin]) + table + string(text[begin+length:]))
			continue
		}
		require.Equal(t, table, string(text[begin:][:length]), "go test ./cmd/ggufkit -run TestScalePage -update")
	}
	if *update {
		require.NoError(t, os.WriteFile(page, text, 0o666))
	}
}

// scaleTable returns the table of a model.
func scaleTable(t *testing.T, root, head string, s shape) string {
	data := filepath.Join(root, "testdata")
	words, err := os.ReadFile(filepath.Join(data, "texts", "wiki.txt"))
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, s.write("model", filepath.Join(data, "beyonder-mini", "chat")))
	require.NoError(t, os.WriteFile("text.txt", bytes.Repeat(words, 20), 0o666))
	table := head
	for _, machine := range scaleMachines {
		table += machine.name + " | "
	}
	table += "core hours | read | memory |\n|---|" + strings.Repeat("---:|", len(scaleMachines)+3)
	for _, task := range scaleTasks {
		row := fmt.Sprintf("\n| %s |", task.name)
		rest := ""
		for i, machine := range scaleMachines {
			args := append(task.args("model", "text.txt"), "--memory", machine.memory, "--threads", machine.threads, "--dry-run", "--json", "--quiet",
				"--bench", filepath.Join(root, "docs", "scale", machine.rates))
			var stdout, stderr bytes.Buffer
			args = append(args, machine.part...)
			require.Zero(t, run(append([]string{"ggufkit"}, args...), &stdout, &stderr), &stderr)
			var planned report.PlanCost
			require.NoError(t, json.Unmarshal(stdout.Bytes(), &planned))
			row += fmt.Sprintf(" %s |", hours(planned.Seconds))
			if i != scaleWhole {
				continue
			}
			read, memory := planned.LeastBytes, display.Bytes(planned.MemoryBytes)
			if !task.runs {
				read, memory = planned.ReadBytes, "–"
			}
			rest = fmt.Sprintf(" %.3g | %s | %s |", planned.CoreHours, display.Bytes(read), memory)
		}
		table += row + rest
	}
	return table
}

// hours writes a time, short ones in minutes.
func hours(seconds float64) string {
	switch {
	case seconds < 90*60:
		return fmt.Sprintf("%.2g min", seconds/60)
	default:
		return fmt.Sprintf("%.2g h", seconds/3600)
	}
}
