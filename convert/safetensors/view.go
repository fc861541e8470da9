package safetensors

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// views are tensors that are mapped: those that are looked at, and the one that was looked
// at last, since as a rule it is again.
type views struct {
	mu   sync.Mutex
	list []*view
}

type view struct {
	of    *tensor
	data  *files.Mapping
	users int
}

// View implements weights.Viewer, for files that Open opened.
func (t *tensor) View(use func(data []byte) error) error {
	if t.file.input == nil || t.size == 0 {
		return errors.ErrUnsupported
	}
	v, err := t.file.views.take(t)
	if err != nil {
		return err
	}
	defer t.file.views.put(v)
	err = files.Guard(func() error { return use(v.data.Data()) }, v.data)
	if errors.Is(err, files.ErrGone) {
		err = fmt.Errorf("%w: tensor %q: %w", gguf.ErrCorrupt, t.name, err)
	}
	return err
}

// take returns the view of a tensor. Those that nobody uses, of others, are gone then.
func (vs *views) take(t *tensor) (*view, error) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if i := slices.IndexFunc(vs.list, func(v *view) bool { return v.of == t }); i >= 0 {
		vs.list[i].users++
		return vs.list[i], nil
	}
	if err := vs.drop(); err != nil {
		return nil, err
	}
	m, err := t.file.input.Map(t.offset, t.size)
	if err != nil {
		return nil, err
	}
	v := &view{t, m, 1}
	vs.list = append(vs.list, v)
	return v, nil
}

func (vs *views) put(v *view) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	v.users--
}

// drop ends the views that nobody uses.
func (vs *views) drop() error {
	var errs []error
	vs.list = slices.DeleteFunc(vs.list, func(v *view) bool {
		if v.users > 0 {
			return false
		}
		errs = append(errs, v.data.Close())
		return true
	})
	return errors.Join(errs...)
}

func (vs *views) close() error {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.drop()
}
