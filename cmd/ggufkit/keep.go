package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// keepFlags say where results are kept, and which part of a run is to be done.
type keepFlags struct {
	dir  string
	part results.Part
	look bool // only read what is there
}

func (f *keepFlags) resultsFlag() cli.Flag {
	return &cli.StringFlag{Name: "results", Usage: "keep results in `DIR`, or at s3://, as they come, and do only what is missing there", Destination: &f.dir}
}

func (f *keepFlags) partFlag() cli.Flag {
	return partFlag("with --results: do part `I/N` of the run, or auto, what Slurm, Kubernetes or MPI say; without it, report when all is there", &f.part)
}

// partFlag returns the flag for a part of what a command does.
func partFlag(usage string, to *results.Part) cli.Flag {
	return parsedFlag("part", "", usage, to, func(s string) (results.Part, error) {
		part, err := results.ParsePart(s, os.Getenv)
		if err != nil {
			err = fmt.Errorf("--part: %w", err)
		}
		return part, err
	})
}

// keptModel is one of the models that kept results are of.
type keptModel struct {
	name   string // what it is in the run
	source gguf.Source
	sum    string // the hash of its data, or of all its files, "" if it is not known
}

// place returns where results are kept, nil if they are not.
func (f *keepFlags) place(c *call, hashing *report.Hashing, compute infer.Compute, models ...keptModel) (*results.Place, error) {
	if f.dir == "" {
		if f.part.Of > 0 {
			return nil, c.usagef("--part needs --results DIR: where the parts come together")
		}
		return nil, nil
	}
	storage, err := results.Locate(f.dir, c.remote)
	if err != nil {
		return nil, err
	}
	place, err := resultsOf(c, hashing, compute, models...)
	if err != nil {
		return nil, err
	}
	place.Storage, place.Part, place.Look, place.Note = storage, f.part, f.look, func(note string) { printNotes(c, []string{note}) }
	return place, nil
}

// resultsOf returns a place, but for where it is, of results of models, the first of which is the one that is hashed, which depend on how
// it is computed.
func resultsOf(c *call, hashing *report.Hashing, compute infer.Compute, models ...keptModel) (*results.Place, error) {
	known, err := hashing.Wait()
	if err != nil {
		return nil, err
	}
	version, err := c.build()
	if err != nil {
		return nil, err
	}
	place := &results.Place{}
	place.Facts = append(place.Facts, gguf.Fact{What: "version", Is: version + " " + runtime.GOARCH}, gguf.Fact{What: "compute", Is: compute.String()})
	if compute == infer.Int8 && anyBF16(models) {
		place.Facts = append(place.Facts, gguf.Fact{What: "instructions", Is: isa.Current().String()}) // on which products with BF16 depend
	}
	if known.Imatrix != nil {
		place.Facts = append(place.Facts, gguf.Fact{What: "importance matrix", Is: known.Imatrix.SHA256})
	}
	var sources []gguf.Source
	place.Check = func() error { return gguf.Unchanged(sources...) }
	for i, m := range models {
		sources = append(sources, m.source)
		sum := m.sum
		if i == 0 {
			sum = known.Model.FileSHA256 + known.Model.DataSHA256
		}
		fact, err := results.Model(c.ctx, m.name, m.source, sum)
		if err != nil {
			return nil, about(m.source, err)
		}
		place.Facts = append(place.Facts, fact)
	}
	return place, nil
}

// placeOf is place for what is measured of a model alone.
func (f *keepFlags) placeOf(c *call, m *model, compute infer.Compute) (*results.Place, error) {
	if f.dir == "" {
		return f.place(c, nil, compute)
	}
	hashing := newProvenance(c, m, nil)
	defer hashing.Stop()
	return f.place(c, hashing, compute, keptModel{name: "model", source: m})
}

func anyBF16(models []keptModel) bool {
	for _, m := range models {
		for _, t := range m.source.Tensors() {
			if t.Type == gguf.BF16 {
				return true
			}
		}
	}
	return false
}

// partDone says that a part of a run is done, if that is what err is. It returns any other error.
func partDone(c *call, err error) error {
	partial := (*results.Partial)(nil)
	if !errors.As(err, &partial) {
		return err
	}
	if !partial.Done() {
		return partial
	}
	done := report.Part{Part: partial.Part.Number, Parts: partial.Part.Of, Units: partial.Units, Now: partial.Now}
	return printResults(c, done, func(w io.Writer) { done.Print(w) })
}

// together runs what keeps its results at a place. If that was a part, and other processes have done the rest, it is run as a whole, so that what comes after it
// can be begun.
func together[T any](place *results.Place, run func() (T, error)) (T, error) {
	made, err := run()
	partial := (*results.Partial)(nil)
	if !errors.As(err, &partial) || !partial.Done() {
		return made, err
	}
	place.Part = results.Part{}
	if made, again := run(); !errors.As(again, &partial) {
		return made, again
	}
	return made, err
}

// tokenRate is display.TokenRate, nil where results are kept: only some of the windows may be run.
func tokenRate(place *results.Place) func(perSecond float64) string {
	if place != nil {
		return nil
	}
	return display.TokenRate
}
