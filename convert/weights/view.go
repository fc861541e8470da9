package weights

import "errors"

// Viewer is a tensor that can be looked at where it is stored, without copying it.
type Viewer interface {
	Rows
	// View calls use with all elements as they are stored. They must not be changed, nor
	// used when it has returned. If they cannot be read the error says so, and what use
	// was to do is not done. It wraps errors.ErrUnsupported, and use is not called, where
	// this cannot be done.
	View(use func(data []byte) error) error
}

// View looks at a tensor as [Viewer] does. The error wraps errors.ErrUnsupported if r is
// none.
func View(r Rows, use func(data []byte) error) error {
	if v, ok := r.(Viewer); ok {
		return v.View(use)
	}
	return errors.ErrUnsupported
}
