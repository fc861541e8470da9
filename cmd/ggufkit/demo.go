package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "convert, quantize and measure the small mixture of experts that comes with the program",
		Description: "Does with a trained 4-expert Mixtral of 10.6 M parameters what the other commands do with yours,\n" +
			"in a temporary folder, in less than two minutes on two cores.",
		Flags:  append(append([]cli.Flag{threadsFlag()}, progressFlags()...), jsonFlag()),
		Action: demo,
	}
}

// demoTypes are what the demo quantizes to, a choice over the range of sizes.
var demoTypes = []recipe.FileType{recipe.Q8_0, recipe.Q6_K, recipe.Q5_K_M, recipe.Q4_K_M, recipe.Q3_K_M, recipe.Q2_K}

// demoReport is the outcome for one file.
type demoReport struct {
	Type      string  `json:"type"`
	File      string  `json:"file"`
	FileBytes int64   `json:"file_bytes"`
	BPW       float64 `json:"bpw"`
	PPL       float64 `json:"ppl"`
	PPLError  float64 `json:"ppl_error"`
	// Delta is the perplexity less that of the original, with the standard
	// error of the paired difference: both saw the same tokens.
	Delta      float64 `json:"ppl_delta"`
	DeltaError float64 `json:"ppl_delta_error"`
}

func demo(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	start := time.Now()
	say := func(format string, args ...any) {
		if !c.Bool("quiet") {
			fmt.Fprintf(c.App.ErrWriter, format+"\n", args...)
		}
	}
	dir, err := os.MkdirTemp("", "ggufkit-demo-")
	if err != nil {
		return err
	}
	if err := testdata.WriteBeyonder(dir); err != nil {
		return err
	}
	source := filepath.Join(dir, "moe.yaml")
	text, err := demoText()
	if err != nil {
		return err
	}
	say("recipe:     %s", source)

	checkpoint, err := convert.OpenRecipe(c.Context, source, mergeOptions(c), convert.Options{})
	if err != nil {
		return err
	}
	defer checkpoint.Close()
	original := filepath.Join(dir, "moe-BF16.gguf")
	if _, err := gguf.Write(c.Context, original, checkpoint, gguf.WriteOptions{Threads: c.Int("threads")}); err != nil {
		return err
	}
	say("merged and converted: %s", original)
	base, baseResult, err := demoScore(c, original, text)
	if err != nil {
		return err
	}
	reports := []demoReport{base}
	for _, fileType := range demoTypes {
		path := filepath.Join(dir, "moe-"+fileType.String()+".gguf")
		if err := demoQuantize(c, original, path, fileType); err != nil {
			return err
		}
		say("quantized:  %s", path)
		report, result, err := demoScore(c, path, text)
		if err != nil {
			return err
		}
		report.Delta, report.DeltaError, err = perplexity.Difference(result, baseResult)
		if err != nil {
			return err
		}
		reports = append(reports, report)
	}
	if c.Bool("json") {
		return printJSON(c, reports)
	}
	printDemo(c, reports)
	fmt.Fprintf(c.App.Writer, "\nPerplexity of %d tokens of held-out text; lower is better. The files are in\n%s\nDone in %.0f s.\n",
		baseResult.ScoredTokens, dir, time.Since(start).Seconds())
	return nil
}

// demoText is held-out text of all domains.
func demoText() (string, error) {
	names, err := fs.Glob(testdata.Texts, "*.txt")
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, name := range names {
		data, err := fs.ReadFile(testdata.Texts, name)
		if err != nil {
			return "", err
		}
		text.Write(data)
	}
	return text.String(), nil
}

func demoQuantize(c *cli.Context, from, to string, fileType recipe.FileType) error {
	f, err := gguf.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	view, err := quant.NewView(f, fileType, quant.ViewOptions{})
	if err != nil {
		return err
	}
	_, err = gguf.Write(c.Context, to, view, gguf.WriteOptions{Threads: c.Int("threads")})
	return err
}

func demoScore(c *cli.Context, path, text string) (demoReport, perplexity.Result, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return demoReport{}, perplexity.Result{}, err
	}
	defer f.Close()
	result, _, err := score(c, f, text, infer.Options{}, perplexity.Options{}, "scoring")
	if err != nil {
		return demoReport{}, perplexity.Result{}, fmt.Errorf("%s: %w", path, err)
	}
	return demoReport{
		Type:      fileTypeName(f),
		File:      path,
		FileBytes: f.Size(),
		BPW:       bitsPerWeight(f),
		PPL:       result.PPL,
		PPLError:  result.PPLError,
	}, result, nil
}

func printDemo(c *cli.Context, reports []demoReport) {
	columns := []string{"type", "size", "bits per weight", "perplexity", "difference to the original"}
	t := newTable(c.App.Writer, columns, columns[1:]...)
	for i, r := range reports {
		difference := ""
		if i > 0 {
			difference = fmt.Sprintf("%+.4f ± %.4f", r.Delta, r.DeltaError)
		}
		t.AppendRow(table.Row{r.Type, bytesText(r.FileBytes), fmt.Sprintf("%.2f", r.BPW), fmt.Sprintf("%.3f ± %.3f", r.PPL, r.PPLError), difference})
	}
	t.Render()
}
