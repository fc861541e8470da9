package report

import (
	"fmt"
	"io"
)

// Part is what was done of a run that is divided: the report is made when all parts are done.
type Part struct {
	Part  int `json:"part"` // from 1 on
	Parts int `json:"parts"`
	Units int `json:"units"` // of this part, which are all there
	Now   int `json:"done"`  // of these, the ones that were missing
}

// Print shows it on a terminal.
func (p Part) Print(w io.Writer) {
	fmt.Fprintf(w, "part %d of %d is done (units: %d, done now: %d); the same command without --part reports when all are\n", p.Part, p.Parts, p.Units, p.Now)
}
