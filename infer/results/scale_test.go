package results

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// memory is a Storage whose writes may fail half way.
type memory struct {
	files  map[string][]byte
	append func(data []byte) (written []byte, err error) // nil: all is written
}

func (m *memory) Path(name string) string { return name }

func (m *memory) List(string) ([]string, error) { return slices.Sorted(maps.Keys(m.files)), nil }

func (m *memory) Open(name string) (*files.File, error) {
	data, ok := m.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return files.NewFile(name, object{bytes.NewReader(data)}), nil
}

func (m *memory) Create(name string) (Log, error) {
	if _, ok := m.files[name]; ok {
		return nil, fs.ErrExist
	}
	if m.files == nil {
		m.files = make(map[string][]byte)
	}
	m.files[name] = nil
	return memoryLog{m, name}, nil
}

type memoryLog struct {
	of   *memory
	name string
}

func (l memoryLog) Append(data []byte) (err error) {
	if l.of.append != nil {
		data, err = l.of.append(data)
	}
	l.of.files[l.name] = append(l.of.files[l.name], data...)
	return err
}

func (memoryLog) Close() error { return nil }

type object struct{ *bytes.Reader }

func (object) Close() error          { return nil }
func (object) Version() string       { return "" }
func (object) Unchanged() error      { return nil }
func (object) Prefetch(int64, int64) {}

// world is where the workers of a test keep their results, and what can happen there.
type world interface {
	// process returns it as a process of its own sees it, and what kills that.
	process(t *testing.T) (storage Storage, kill context.CancelFunc)
	// killed has the process that writes next be killed, when what left returns of its bytes is there.
	killed(kill context.CancelFunc, left func(data []byte) []byte)
	names(t *testing.T) []string
	get(t *testing.T, name string) []byte
	put(t *testing.T, name string, data []byte)
	remove(t *testing.T, name string)
}

func (m *memory) process(*testing.T) (Storage, context.CancelFunc) { return m, nil }

func (m *memory) killed(_ context.CancelFunc, left func([]byte) []byte) {
	m.append = func(data []byte) ([]byte, error) {
		m.append = nil
		return left(data), errors.New("killed")
	}
}

func (m *memory) names(*testing.T) []string                  { return slices.Sorted(maps.Keys(m.files)) }
func (m *memory) get(_ *testing.T, name string) []byte       { return m.files[name] }
func (m *memory) put(_ *testing.T, name string, data []byte) { m.files[name] = data }
func (m *memory) remove(_ *testing.T, name string)           { delete(m.files, name) }

// Of what is written in a directory, any part may be there after a kill.
func TestScale(t *testing.T) { testScale(t, &memory{}, 10_000, 500) }

// Workers share units. They are killed while they write, started again while the one before is still at work, and Disks lose bits,
// ends of files, and files, and one of the machines computes wrongly what others have done. In the end each unit is there, once, and right.
func testScale(t *testing.T, store world, units, workers int) {
	random := rand.New(rand.NewPCG(16, 1))
	of := func(unit int) []byte {
		data := binary.LittleEndian.AppendUint64(nil, uint64(unit)*0x9E3779B97F4A7C15)
		return bytes.Repeat(data, 1+unit%5)
	}
	type worker struct {
		part  Part
		kill  context.CancelFunc
		store *Store
		todo  []int
	}
	start := func(part Part) *worker {
		storage, kill := store.process(t)
		s, err := (&Place{Storage: storage, Part: part}).Open(t.Context(), "scale", units)
		require.NoError(t, err)
		return &worker{part, kill, s, s.Missing()}
	}
	var running []*worker
	for i := range workers {
		running = append(running, start(Part{i + 1, workers}))
	}
	var kills, torn, twice, wrong, lost, computed int
	for len(running) > 0 {
		i := random.IntN(len(running))
		w := running[i]
		stop := func() { running = append(running[:i], running[i+1:]...) }
		if len(w.todo) == 0 {
			require.NoError(t, w.store.Close())
			stop()
			continue
		}
		n := min(len(w.todo), 1+random.IntN(3)) // units that are done together
		var records []Record
		for _, unit := range w.todo[:n] {
			records = append(records, Record{Unit: unit, Data: of(unit)})
		}
		w.todo = w.todo[n:]
		if random.IntN(20) == 0 { // it is killed meanwhile
			kills++
			store.killed(w.kill, func(b []byte) []byte {
				written := slices.Clone(b[:random.IntN(len(b)+1)])
				if random.IntN(4) == 0 { // the length is on the disk, the bytes are not
					written = append(written, make([]byte, random.IntN(4096))...)
				}
				if len(written) > 0 {
					torn++
				}
				return written
			})
			require.Error(t, w.store.Keep(records...))
			stop()
			running = append(running, start(w.part))
			continue
		}
		require.NoError(t, w.store.Keep(records...))
		computed += n
		if random.IntN(50) == 0 { // the scheduler takes it for dead
			twice++
			running = append(running, start(w.part))
		}
	}
	names := store.names(t)
	for range 40 {
		i := random.IntN(len(names))
		data := store.get(t, names[i])
		switch {
		case len(data) == 0:
		case lost%3 == 0:
			data[random.IntN(len(data))] ^= 1 << random.IntN(8)
			store.put(t, names[i], data)
		case lost%3 == 1:
			store.put(t, names[i], data[:random.IntN(len(data))])
		default:
			store.remove(t, names[i])
			names = slices.Delete(names, i, i+1)
		}
		lost++
	}

	s := start(Part{}).store
	for _, unit := range random.Perm(units)[:50] { // each once: what is computed wrongly twice is taken for right
		if !s.has(unit) {
			continue
		}
		wrong++
		other := start(Part{unit%workers + 1, workers})
		require.NoError(t, other.store.Keep(Record{Unit: unit, Data: append(of(unit), 1)}))
	}

	// What is missing now is known, and of which parts.
	s = start(Part{}).store
	partial := (*Partial)(nil)
	require.ErrorAs(t, s.Finish(), &partial)
	missing := 0
	for _, m := range partial.Missing {
		missing += m.Units
	}
	require.Equal(t, units, partial.Units)
	require.Empty(t, s.Missing(), "only the parts do anything")
	t.Logf("kills %d, torn %d, started twice %d, computed wrongly %d, damaged %d; units computed %d, missing then %d",
		kills, torn, twice, wrong, lost, computed, missing)
	require.Positive(t, missing)
	require.Greater(t, computed, units)

	last := start(Part{1, 1})
	require.Len(t, last.todo, missing)
	for _, unit := range last.todo {
		require.NoError(t, last.store.Keep(Record{Unit: unit, Data: of(unit)}))
	}
	s = start(Part{}).store
	require.NoError(t, s.Finish())
	for unit := range units {
		data, _, err := s.Get(unit)
		require.NoError(t, err)
		require.Equal(t, of(unit), data, unit)
	}
}
