package results

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever happens to some bytes, no record is lost but those that they belong to, and none comes into being.
func TestScanDamaged(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var k key
	for round := range 300 {
		var file []byte
		var ends []int
		for unit := range 20 {
			data := make([]byte, random.IntN(300))
			for i := range data {
				data[i] = byte(1 + random.IntN(255))
			}
			if random.IntN(4) == 0 { // data may look like records
				data = appendRecord(nil, k, 0, uint64(unit+100), nil, data)[1:]
			}
			file = appendRecord(file, k, uint32(unit%3), uint64(unit), []byte(`{"read":1}`), data)
			ends = append(ends, len(file))
		}
		at, n := random.IntN(len(file)), 1+random.IntN(500)
		n = min(n, len(file)-at)
		damaged := slices.Clone(file)
		switch round % 3 {
		case 0:
			damaged = slices.Delete(damaged, at, at+n)
		case 1:
			damaged = slices.Insert(damaged, at, make([]byte, n)...)
			n = 0
		default:
			for i := range n {
				damaged[at+i] ^= byte(1 + random.IntN(255))
			}
		}
		var want, got []uint64
		start := 0
		for unit, end := range ends {
			if end <= at || start >= at+n {
				want = append(want, uint64(unit))
			}
			start = end
		}
		_, err := scan(t.Context(), bytes.NewReader(damaged), int64(len(damaged)), func(f found) {
			require.Equal(t, int64(1), f.cost.Read)
			got = append(got, f.unit)
		})
		require.NoError(t, err)
		require.Equal(t, want, got, "round %d: %d bytes from %d on", round, n, at)
	}
}

// A file whose records contradict themselves takes no more than a few times as long as another.
func TestScanBudget(t *testing.T) {
	file := bytes.Repeat([]byte(recordStart), 1<<18)
	r := &counting{Reader: bytes.NewReader(file)}
	damaged, err := scan(t.Context(), r, int64(len(file)), func(found) { require.Fail(t, "there is none") })
	require.NoError(t, err)
	require.Equal(t, int64(len(file)), damaged)
	require.Less(t, r.read, 6*len(file)+2<<20)
}

type counting struct {
	*bytes.Reader
	read int
}

func (c *counting) ReadAt(b []byte, offset int64) (int, error) {
	c.read += len(b)
	return c.Reader.ReadAt(b, offset)
}

// Whatever a file has, a run is completed beside it.
func FuzzStore(f *testing.F) {
	const units = 3
	m := &memory{}
	s, err := (&Place{Storage: m}).Open(f.Context(), "test", units)
	require.NoError(f, err)
	require.NoError(f, s.Keep(Record{Unit: 0, Data: []byte("zero")}, Record{Unit: 2, Data: []byte("two")}))
	name, data := s.name, m.files[s.name]
	f.Add(data)
	f.Add(data[:len(data)-1])
	f.Add(append(slices.Clone(data), appendRecord(nil, s.key, 7, 1, []byte(`{"took":[1,2]}`), nil)...))
	f.Add(append(slices.Clone(data), appendRecord(nil, s.key, 0, 2, nil, []byte("other"))...))
	f.Add(appendRecord(nil, s.key, 0, titleUnit, nil, []byte(`{"units":3}`)))
	f.Add(appendRecord(nil, key{}, maxAttempt, maxUnits, nil, nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &memory{files: map[string][]byte{name: data}}
		s, err := (&Place{Storage: m, Part: Part{1, 1}}).Open(t.Context(), "test", units)
		require.NoError(t, err)
		for _, n := range s.Missing() {
			require.NoError(t, s.Keep(Record{Unit: n, Data: []byte{byte(n)}}))
		}
		require.NoError(t, s.Finish())
		s, err = (&Place{Storage: m}).Open(t.Context(), "test", units)
		require.NoError(t, err)
		require.NoError(t, s.Finish())
		for n := range units {
			_, _, err := s.Get(n)
			require.NoError(t, err)
		}
	})
}
