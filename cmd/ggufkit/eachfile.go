package main

import (
	"errors"
	"fmt"

	"github.com/ggufkit/ggufkit/infer/display"
)

// eachFile opens the files that are the arguments, makes reports on them, and prints them: as
// one JSON document with --json, a list if there are several.
func eachFile[Report any](c *call, open func(path string) (*model, error), look func(*model) (Report, error), show func(Report)) error {
	if len(c.args) == 0 {
		return c.wrongCount(1, "MODEL")
	}
	var reports []Report
	for i, path := range c.args {
		model, err := open(path)
		if err != nil {
			return err
		}
		report, err := look(model)
		if err := errors.Join(err, model.Close()); err != nil {
			return named(model.path, err)
		}
		if reports = append(reports, report); c.json {
			continue
		}
		if len(c.args) > 1 {
			if i > 0 {
				fmt.Fprintln(c.stdout)
			}
			fmt.Fprintf(c.stdout, "==> %s <==\n", display.Name(model.path))
		}
		show(report)
	}
	switch {
	case !c.json:
		return nil
	case len(reports) == 1:
		return printJSON(c, reports[0])
	}
	return printJSON(c, reports)
}
