package parquet

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strconv"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// values are those of a page as bytes: little-endian numbers, a byte for a boolean.
type values [][]byte

// width returns the length of a value in bytes, 0 if it varies.
func (n *node) width() int {
	switch n.element.Type.V {
	case format.Boolean:
		return 1
	case format.Int32, format.Float:
		return 4
	case format.Int64, format.Double:
		return 8
	case format.Int96:
		return 12
	case format.FixedLenByteArray:
		return int(n.element.TypeLength.V)
	}
	return 0
}

// oldDictionary is how the first version of the format calls RLEDictionary, and Plain in a dictionary.
const oldDictionary = format.PlainDictionary //nolint:staticcheck // what files say

var errEnd = corrupt("a page ends too early")

// decode returns n values of a page.
func (p *pages) decode(data []byte, n int, encoding format.Encoding) (values, error) {
	isBytes := p.leaf.element.Type.V == format.ByteArray
	isWhole := p.leaf.element.Type.V == format.Int32 || p.leaf.element.Type.V == format.Int64
	switch {
	case n == 0:
		return nil, nil
	case encoding == format.Plain:
		return p.leaf.plain(data, n)
	case encoding == oldDictionary || encoding == format.RLEDictionary:
		if len(data) == 0 || data[0] > 32 {
			return nil, errEnd
		}
		indices, err := hybrid(data[1:], int(data[0]), n)
		if err != nil {
			return nil, err
		}
		v := make(values, n)
		for i, index := range indices {
			if int64(index) >= int64(len(p.dictionary)) {
				return nil, corrupt("value %d of a dictionary of %d", index, len(p.dictionary))
			}
			v[i] = p.dictionary[index]
		}
		return v, nil
	case encoding == format.RLE && p.leaf.element.Type.V == format.Boolean:
		if len(data) < 4 {
			return nil, errEnd
		}
		list, err := hybrid(data[4:], 1, n)
		v := make(values, len(list))
		for i, b := range list {
			v[i] = []byte{byte(b)}
		}
		return v, err
	case encoding == format.DeltaBinaryPacked && isWhole:
		list, _, err := deltas(data, n)
		v := make(values, len(list))
		for i, x := range list {
			v[i] = binary.LittleEndian.AppendUint64(nil, uint64(x))[:p.leaf.width()]
		}
		return v, err
	case encoding == format.DeltaLengthByteArray && isBytes:
		lengths, rest, err := deltas(data, n)
		if err != nil {
			return nil, err
		}
		return cut(rest, lengths)
	case encoding == format.DeltaByteArray && (isBytes || p.leaf.element.Type.V == format.FixedLenByteArray):
		return p.prefixed(data, n)
	case encoding == format.ByteStreamSplit && p.leaf.width() > 1:
		w := p.leaf.width()
		if len(data)/w < n {
			return nil, errEnd
		}
		v, streams := make(values, n), len(data)/w
		for i := range v {
			for k := range w {
				v[i] = append(v[i], data[k*streams+i])
			}
		}
		return v, nil
	}
	return nil, unsupported("values of type %v encoded as %v", p.leaf.element.Type.V, encoding)
}

// plain returns n values that follow each other.
func (n *node) plain(data []byte, count int) (values, error) {
	w := n.width()
	least := 8 * max(1, w) // bits of a value
	switch {
	case n.element.Type.V == format.Boolean:
		least = 1
	case w == 0:
		least = 8 * 4
	}
	if count < 0 || count > 8*len(data)/least {
		return nil, errEnd
	}
	v := make(values, count)
	for i := range v {
		switch {
		case n.element.Type.V == format.Boolean:
			v[i] = []byte{data[i/8] >> (i % 8) & 1}
			continue
		case w == 0:
			if len(data) < 4 || uint64(binary.LittleEndian.Uint32(data)) > uint64(len(data)-4) {
				return nil, errEnd
			}
			end := 4 + int(binary.LittleEndian.Uint32(data))
			v[i], data = data[4:end], data[end:]
			continue
		case w > len(data):
			return nil, errEnd
		}
		v[i], data = data[:w], data[w:]
	}
	return v, nil
}

// prefixed returns values that begin as the one before, by so many bytes.
func (p *pages) prefixed(data []byte, n int) (values, error) {
	prefixes, data, err := deltas(data, n)
	if err != nil {
		return nil, err
	}
	lengths, data, err := deltas(data, n)
	if err != nil {
		return nil, err
	}
	v, err := cut(data, lengths)
	if err != nil {
		return nil, err
	}
	var last []byte
	for i, prefix := range prefixes {
		if prefix < 0 || prefix > int64(len(last)) {
			return nil, corrupt("a value that has %d bytes of the one before, which has %d", prefix, len(last))
		}
		if *p.limit -= prefix; *p.limit < 0 {
			return nil, unsupported("more data")
		}
		v[i] = slices.Concat(last[:prefix], v[i])
		last = v[i]
	}
	return v, nil
}

// cut returns values of these lengths.
func cut(data []byte, lengths []int64) (values, error) {
	v := make(values, len(lengths))
	for i, n := range lengths {
		if n < 0 || n > int64(len(data)) {
			return nil, errEnd
		}
		v[i], data = data[:n], data[n:]
	}
	return v, nil
}

// hybrid returns n numbers of so many bits: runs of one, and packed ones by eights.
func hybrid(data []byte, width, n int) ([]uint32, error) {
	list := make([]uint32, 0, min(n, 1<<20))
	for len(list) < n {
		header, k := binary.Uvarint(data)
		if k <= 0 {
			return nil, errEnd
		}
		data = data[k:]
		if header&1 == 0 {
			size := (width + 7) / 8
			if len(data) < size || header == 0 {
				return nil, errEnd
			}
			var raw [4]byte
			copy(raw[:], data[:size])
			data = data[size:]
			v := binary.LittleEndian.Uint32(raw[:])
			for range min(header>>1, uint64(n-len(list))) {
				list = append(list, v)
			}
			continue
		}
		eights := header >> 1
		if eights == 0 || width > 0 && eights > uint64(len(data)/width) { // a byte of each is a bit of the width
			return nil, errEnd
		}
		for i := range int(min(8*eights, uint64(n-len(list)))) {
			list = append(list, uint32(packed(data, i, width)))
		}
		data = data[int(eights)*width:]
	}
	return list, nil
}

// packed returns the number at a place of numbers of so many bits, the lowest first.
func packed(data []byte, i, width int) (v uint64) {
	at := i * width
	for got := 0; got < width; {
		b := uint64(data[at/8]) >> (at % 8)
		v |= b << got
		step := 8 - at%8
		got, at = got+step, at+step
	}
	return v & (1<<width - 1)
}

// deltas returns n numbers of which the differences are packed in blocks, and what is behind them.
func deltas(data []byte, n int) (list []int64, rest []byte, err error) {
	ends := false
	next := func() uint64 {
		v, k := binary.Uvarint(data)
		if ends = ends || k <= 0; ends {
			return 0
		}
		data = data[k:]
		return v
	}
	signed := func() int64 { v := next(); return int64(v>>1) ^ -int64(v&1) }
	block, minis, total, last := next(), next(), next(), signed()
	if ends || total != uint64(n) {
		return nil, nil, corrupt("%d numbers instead of %d", total, n)
	}
	if minis == 0 || block%minis != 0 || block/minis%8 != 0 || block == 0 || block > 1<<20 {
		return nil, nil, corrupt("blocks of %d numbers in %d parts", block, minis)
	}
	list = append(list, last)
	for len(list) < n {
		least := signed()
		if ends || uint64(len(data)) < minis {
			return nil, nil, errEnd
		}
		widths := data[:minis]
		data = data[minis:]
		for _, width := range widths {
			if len(list) == n {
				break // the others have no numbers
			}
			size := int(block/minis/8) * int(width)
			if width > 64 || size > len(data) {
				return nil, nil, errEnd
			}
			for i := 0; i < int(block/minis) && len(list) < n; i++ {
				last += least + int64(packed(data, i, int(width)))
				list = append(list, last)
			}
			data = data[size:]
		}
	}
	return list, data, nil
}

// writer returns what makes JSON of a value of a column.
func writer(e *format.SchemaElement) (func(b []byte) (json.RawMessage, error), error) {
	if d, ok := decimal(e); ok {
		return d, nil
	}
	switch e.Type.V {
	case format.Boolean:
		return func(b []byte) (json.RawMessage, error) { return strconv.AppendBool(nil, b[0] != 0), nil }, nil
	case format.Int32:
		if isUnsigned(e) {
			return func(b []byte) (json.RawMessage, error) {
				return strconv.AppendUint(nil, uint64(binary.LittleEndian.Uint32(b)), 10), nil
			}, nil
		}
		return func(b []byte) (json.RawMessage, error) {
			return strconv.AppendInt(nil, int64(int32(binary.LittleEndian.Uint32(b))), 10), nil
		}, nil
	case format.Int64:
		if isUnsigned(e) {
			return func(b []byte) (json.RawMessage, error) {
				return strconv.AppendUint(nil, binary.LittleEndian.Uint64(b), 10), nil
			}, nil
		}
		return func(b []byte) (json.RawMessage, error) {
			return strconv.AppendInt(nil, int64(binary.LittleEndian.Uint64(b)), 10), nil
		}, nil
	case format.Float:
		return func(b []byte) (json.RawMessage, error) {
			return number(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 32)
		}, nil
	case format.Double:
		return func(b []byte) (json.RawMessage, error) {
			return number(math.Float64frombits(binary.LittleEndian.Uint64(b)), 64)
		}, nil
	case format.Int96: // three numbers, of which old files make times
		return func(b []byte) (json.RawMessage, error) {
			return json.Marshal([]uint32{binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])})
		}, nil
	case format.ByteArray, format.FixedLenByteArray:
		if e.Type.V == format.FixedLenByteArray && e.TypeLength.V < 1 {
			return nil, corrupt("values of %d bytes", e.TypeLength.V)
		}
		if _, ok := e.LogicalType.Value.(*format.JsonType); ok || e.ConvertedType.Valid && e.ConvertedType.V == deprecated.Json {
			return func(b []byte) (json.RawMessage, error) {
				if !json.Valid(b) {
					return nil, corrupt("%.80q is not JSON", b)
				}
				return b, nil
			}, nil
		}
		return func(b []byte) (json.RawMessage, error) { return json.Marshal(string(b)) }, nil
	}
	return nil, unsupported("values of type %v", e.Type.V)
}

// number writes a number, which JSON has no other than finite ones of.
func number(v float64, bits int) (json.RawMessage, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, unsupported("the number %v", v)
	}
	return strconv.AppendFloat(nil, v, 'g', -1, bits), nil
}

func isUnsigned(e *format.SchemaElement) bool {
	if t, ok := e.LogicalType.Value.(*format.IntType); ok {
		return !t.IsSigned
	}
	return e.ConvertedType.Valid && e.ConvertedType.V >= deprecated.Uint8 && e.ConvertedType.V <= deprecated.Uint64
}

// maxScale bounds how many digits a decimal has behind the point.
const maxScale = 100

// decimal returns what writes numbers with digits behind the point.
func decimal(e *format.SchemaElement) (func(b []byte) (json.RawMessage, error), bool) {
	scale := e.Scale.V
	if t, ok := e.LogicalType.Value.(*format.DecimalType); ok {
		scale = t.Scale
	} else if !e.ConvertedType.Valid || e.ConvertedType.V != deprecated.Decimal {
		return nil, false
	}
	if scale < 0 || scale > maxScale {
		return nil, false
	}
	whole := e.Type.V == format.Int32 || e.Type.V == format.Int64
	return func(b []byte) (json.RawMessage, error) {
		if whole { // others have the highest byte first
			b = slices.Clone(b)
			slices.Reverse(b)
		}
		v := new(big.Int).SetBytes(b)
		if len(b) > 0 && bits.LeadingZeros8(b[0]) == 0 {
			v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		return json.RawMessage(new(big.Rat).SetFrac(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(int(scale))), nil
	}, true
}
