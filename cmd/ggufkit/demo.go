package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata"
)

func demoCommand() *cli.Command {
	var output string
	return &cli.Command{
		Name:  "demo",
		Usage: "merge, convert, measure and choose, with the small models that come with the program",
		Description: "Makes a trained 4-expert Mixtral of 9.1 M parameters of the models that it was merged of, measures what\n" +
			"ten types cost it, chooses one, and writes a report: what the other commands do with your models,\n" +
			"in less than two minutes on two cores. It takes 23 MB, in a temporary folder unless --output names one.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write everything into `DIR`, which must be new or empty, or have --force",
				Destination: &output},
		},
		Action: action(func(c *call) error { return demo(c, output) }),
	}
}

// demoTypes are what the demo chooses from.
const demoTypes = "Q8_0,Q6_K,Q5_K_M,Q5_K_S,Q4_K_M,Q4_K_S,IQ4_XS,Q3_K_M,IQ3_S,Q2_K"

// demoMaxKLD is how close to the original the choice has to be.
const demoMaxKLD = 0.01

// demoReport is the choice, and where everything is.
type demoReport struct {
	*report.Choice
	Dir    string `json:"dir"`
	File   string `json:"file"`
	Report string `json:"report"`
}

func demo(c *call, dir string) (err error) {
	if _, err := c.arguments(); err != nil {
		return err
	}
	start := time.Now()
	say := func(format string, args ...any) {
		if !c.quiet {
			fmt.Fprintf(c.stderr, format+"\n", args...)
		}
	}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "ggufkit-demo-"); err != nil {
			return err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, os.RemoveAll(dir))
			}
		}()
	} else if there, err := os.ReadDir(dir); len(there) > 0 && !c.force {
		return fmt.Errorf("%s is not empty: use --force to overwrite what is called as the demo's files are", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := testdata.WriteBeyonder(dir); errors.Is(err, testdata.ErrNoModels) {
		return fmt.Errorf("%w: go run github.com/ggufkit/ggufkit/cmd/ggufkit@latest demo builds and runs one with them", err)
	} else if err != nil {
		return err
	}
	recipePath := filepath.Join(dir, "moe.yaml")
	say("recipe: %s", recipePath)
	original := filepath.Join(dir, "moe-BF16.gguf")
	if err := demoConvert(c, recipePath, original); err != nil {
		return err
	}
	say("merged and converted: %s", original)

	base, err := gguf.Open(original)
	if err != nil {
		return err
	}
	defer base.Close()
	f := compareFlags{textFlags: textFlags{ctx: perplexity.DefaultCtx, compute: infer.Exact}}
	in := &driftInput{base: &model{base, original}, flags: &f.textFlags, windows: f.windows(), engine: f.engine(c)}
	in.source = in.base
	in.hashing = newProvenance(c, in.base, nil)
	defer in.hashing.Stop()
	if f.files, err = demoTexts(dir); err != nil {
		return err
	}
	if in.texts, err = f.read(); err != nil {
		return err
	}
	types, err := parseFileTypes(c, demoTypes)
	if err != nil {
		return err
	}
	views, err := in.views(c, types)
	if err != nil {
		return err
	}
	measured := f.report(original)
	made, fit, err := demoChoice(c, in, measured, views)
	if err != nil {
		return err
	}
	if measured.Provenance, err = in.hashing.Wait(); err != nil {
		return err
	}
	choice := report.NewChoice(measured, made, fit, nil)
	chosen := filepath.Join(dir, "moe-"+choice.Chosen.Name+".gguf")
	at := slices.IndexFunc(views, func(v drift.Candidate) bool { return v.Name == choice.Chosen.Name })
	if _, err := gguf.Write(c.ctx, chosen, views[at].Source, gguf.WriteOptions{Threads: c.threads, Overwrite: true}); err != nil {
		return err
	}
	say("quantized: %s", chosen)
	page, err := choice.Page()
	if err != nil {
		return err
	}
	pagePath := filepath.Join(dir, "report.html")
	if err := files.Write(pagePath, []byte(page), true); err != nil {
		return err
	}
	if c.json {
		return printJSON(c, demoReport{choice, dir, chosen, pagePath})
	}
	choice.Print(c.stdout)
	fmt.Fprintf(c.stdout, "\nThe report, with charts:\n%s\nDone in %.0f s.\n", pagePath, time.Since(start).Seconds())
	return nil
}

// demoConvert merges the models of a recipe into a GGUF file.
func demoConvert(c *call, from, to string) error {
	_, err := convert.ToGGUF(c.ctx, from, to, recipe.Copy, convert.OutputOptions{
		Open:  convert.Options{Merge: mergeOptions(c)},
		Write: gguf.WriteOptions{Threads: c.threads, Overwrite: true},
	})
	return err
}

// demoTexts writes held-out texts of several domains below dir, and returns where they are.
func demoTexts(dir string) ([]string, error) {
	dir = filepath.Join(dir, "texts")
	if err := testdata.WriteTexts(dir); err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(dir, "*.txt"))
}

// demoChoice measures all views and chooses between them.
func demoChoice(c *call, in *driftInput, measured *report.Drift, views []drift.Candidate) (*choose.Choice, report.Fit, error) {
	run, err := newDriftRun(c, measured, in)
	if err != nil {
		return nil, report.Fit{}, err
	}
	room := newFitFlags()
	candidates, fit, err := run.candidates(views, &room)
	if err != nil {
		return nil, fit, err
	}
	results, err := run.measure(c, views)
	if err != nil {
		return nil, fit, err
	}
	choice, err := choose.Decide(choose.Limits{MaxKLD: demoMaxKLD}, fit.Memory(), candidates, results)
	return choice, fit, err
}
