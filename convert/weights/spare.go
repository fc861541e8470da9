package weights

// Spare returns a tensor that says nothing, such as a bias of zeros: a model takes it
// if its architecture must have one, and does without it otherwise.
func Spare(r Rows) Rows { return &spare{r} }

// IsSpare reports whether a tensor is one that Spare returned.
func IsSpare(r Rows) bool {
	_, ok := r.(*spare)
	return ok
}

type spare struct{ Rows }
