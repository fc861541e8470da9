package reference

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// PackGPTQ writes a checkpoint, but for its card, into a directory with its matrices packed
// as GPTQ does, symmetrically, in codes of 4 bits and groups of 32. They are only
// rounded. Those that skip matches stay as they are; of those that scattered matches
// the groups are not neighbours.
func PackGPTQ(from, to string, skip, scattered *regexp.Regexp) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name == "README.md" || strings.Contains(name, ".safetensors") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), data, 0o666); err != nil {
			return err
		}
	}
	dir, err := safetensors.OpenDir(from)
	if err != nil {
		return err
	}
	defer dir.Close()
	var list weights.List
	for _, name := range dir.Names() {
		r := dir.Get(name)
		m := packable.FindStringSubmatch(name)
		if m == nil || skip != nil && skip.MatchString(name) {
			if err := list.Add(name, r); err != nil {
				return err
			}
			continue
		}
		parts, err := pack(r, scattered != nil && scattered.MatchString(name))
		if err != nil {
			return err
		}
		for _, p := range parts {
			if err := list.Add(m[1]+p.name, p); err != nil {
				return err
			}
		}
	}
	return safetensors.WriteFile(context.Background(), filepath.Join(to, "model.safetensors"), &list, func(int64) {})
}

var packable = regexp.MustCompile(`^(.*\.(?:[a-z]+_proj|w[123]))\.weight$`)

// stored is a tensor of a file that is to be written.
type stored struct {
	name  string
	dtype weights.Dtype
	shape []int64
	data  []byte
}

func (s *stored) Shape() []int64       { return s.shape }
func (s *stored) Dtype() weights.Dtype { return s.dtype }
func (s *stored) Grain() int64         { return 1 }
func (s *stored) ReadRows([]float32, int64, int64) error {
	return fmt.Errorf("%s is only stored", s.name)
}
func (s *stored) ReadRaw(dst []byte, first, n int64) error {
	rows, _ := weights.Count(s.shape)
	copy(dst, s.data[first*int64(len(s.data))/rows:][:n*int64(len(s.data))/rows])
	return nil
}

// pack returns what a matrix is made of in the format.
func pack(r weights.Rows, scattered bool) ([]*stored, error) {
	const group = 32
	n, k := weights.Count(r.Shape())
	values := make([]float32, n*k)
	if err := r.ReadRows(values, 0, n); err != nil {
		return nil, err
	}
	groups := k / group
	groupOf := func(i int64) int64 {
		if scattered {
			return i % groups
		}
		return i / group
	}
	words, scales := make([]uint32, k/8*n), make([]float32, groups*n)
	for row := range n {
		x := values[row*k:][:k]
		for i, v := range x {
			s := &scales[groupOf(int64(i))*n+row]
			*s = max(*s, float32(math.Abs(float64(v)))/7)
		}
	}
	raw := make([]byte, 2*len(scales))
	weights.F16.Encode(raw, scales)
	weights.F16.Float32(scales, raw)
	for row := range n {
		for i := range k {
			code := 8.0
			if s := scales[groupOf(i)*n+row]; s > 0 {
				code += math.Max(-8, math.Min(7, math.RoundToEven(float64(values[row*k+i]/s))))
			}
			words[i/8*n+row] |= uint32(code) << (i % 8 * 4)
		}
	}
	var qweight, index []byte
	for _, w := range words {
		qweight = binary.LittleEndian.AppendUint32(qweight, w)
	}
	for i := range k {
		index = binary.LittleEndian.AppendUint32(index, uint32(groupOf(i)))
	}
	qzeros := make([]byte, groups*n/2)
	for i := range qzeros {
		qzeros[i] = 0x77
	}
	return []*stored{
		{".qweight", weights.I32, []int64{k / 8, n}, qweight}, {".qzeros", weights.I32, []int64{groups, n / 8}, qzeros},
		{".scales", weights.F16, []int64{groups, n}, raw}, {".g_idx", weights.I32, []int64{k}, index},
	}, nil
}
