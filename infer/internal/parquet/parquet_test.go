package parquet_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	own "github.com/ggufkit/ggufkit/infer/internal/parquet"
)

type pair struct {
	A string `parquet:"a" json:"a"`
	Z *int32 `parquet:"z,optional" json:"z"`
}

// record has a column of each kind and encoding.
type record struct {
	Text     string           `parquet:"text" json:"text"`
	Words    string           `parquet:"words,dict" json:"words"`
	Delta    string           `parquet:"delta,delta" json:"delta"`
	Small    int32            `parquet:"small,delta" json:"small"`
	Unsigned uint32           `parquet:"unsigned" json:"unsigned"`
	Long     uint64           `parquet:"long,dict" json:"long"`
	Steps    int64            `parquet:"steps,delta" json:"steps"`
	Half     float32          `parquet:"half,split" json:"half"`
	Whole    float64          `parquet:"whole" json:"whole"`
	Flag     bool             `parquet:"flag" json:"flag"`
	Maybe    *string          `parquet:"maybe,optional,dict" json:"maybe"`
	Numbers  []*int64         `parquet:"numbers,list" json:"numbers"`
	Ages     map[string]int64 `parquet:"ages" json:"ages"`
	Squares  map[int32]bool   `parquet:"squares" json:"squares"`
	Old      deprecated.Int96 `parquet:"old" json:"old"`
	Pairs    []pair           `parquet:"pairs,list" json:"pairs"`
	Again    []string         `parquet:"again" json:"again"`
	Nested   [][]string       `parquet:"nested,list" json:"nested"`
	Inner    *struct {
		Text  []string `parquet:"text,list" json:"text"`
		Label []string `parquet:"label,list,dict" json:"label"`
	} `parquet:"inner,optional" json:"inner"`
	JSON string `parquet:"json,json" json:"-"`
	Cash int64  `parquet:"cash,decimal(2:10)" json:"-"`
}

func records(n int) (list []record) {
	for i := range n {
		text := fmt.Sprintf("Zeile %d: \"naïve\" <é>\n", i*i)
		number, more := int64(i)-7, int32(i)
		r := record{
			Text: text, Words: []string{"one", "two", "three"}[i%3], Delta: strings.Repeat("ab", i%5) + text, Small: more * -3, Unsigned: 4e9 + uint32(i), Long: 1<<63 + uint64(i%4),
			Steps: number * 1e12, Half: float32(i) / 3, Whole: float64(i) * 1e20 / 7, Flag: i%3 == 0, Numbers: []*int64{}, Ages: map[string]int64{}, Pairs: []pair{}, Again: []string{}, Nested: [][]string{},
			Squares: map[int32]bool{more * more: true}, Old: deprecated.Int96{1, 2, uint32(i)}, JSON: fmt.Sprintf(`{"i":%d}`, i), Cash: number,
		}
		if i%2 == 0 {
			r.Maybe, r.Ages["k"], r.Again = &text, number, []string{"x", text}
		}
		for k := range i % 4 {
			r.Numbers = append(r.Numbers, &number)
			r.Pairs = append(r.Pairs, pair{A: text[:k]})
			if k == 1 {
				r.Pairs[k].Z = &more
			}
			r.Nested = append(r.Nested, strings.Fields(text[:3*k]))
		}
		if i%5 > 1 {
			r.Inner = &struct {
				Text  []string `parquet:"text,list" json:"text"`
				Label []string `parquet:"label,list,dict" json:"label"`
			}{strings.Fields(text), strings.Fields(text)[:i%3]}
		}
		list = append(list, r)
	}
	return list
}

func write(t testing.TB, rows []record, options ...parquet.WriterOption) []byte {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[record](&b, options...)
	_, err := w.Write(rows)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func read(data []byte) ([]json.RawMessage, error) {
	return own.Rows(bytes.NewReader(data), int64(len(data)), 1<<24)
}

// TestRows reads what parquet-go writes: both versions of pages, packed in each way, in several row groups and pages.
func TestRows(t *testing.T) {
	rows := records(311)
	for name, codec := range map[string]compress.Codec{"plain": &parquet.Uncompressed, "snappy": &parquet.Snappy, "gzip": &parquet.Gzip, "zstd": &parquet.Zstd} {
		for version := 1; version <= 2; version++ {
			t.Run(fmt.Sprint(name, version), func(t *testing.T) {
				got, err := read(write(t, rows, parquet.Compression(codec), parquet.DataPageVersion(version), parquet.PageBufferSize(700), parquet.MaxRowsPerRowGroup(100)))
				require.NoError(t, err)
				require.Len(t, got, len(rows))
				for i, raw := range got {
					var r struct {
						record
						JSON struct{ I int }
						Cash json.Number
					}
					decoder := json.NewDecoder(bytes.NewReader(raw))
					decoder.DisallowUnknownFields()
					require.NoError(t, decoder.Decode(&r), "%s", raw)
					require.Equal(t, i, r.JSON.I)
					require.Equal(t, fmt.Sprintf("%.2f", float64(i-7)/100), r.Cash.String())
					r.record.JSON, r.record.Cash = rows[i].JSON, rows[i].Cash
					require.Equal(t, rows[i], r.record)
				}
			})
		}
	}
}

func TestRefused(t *testing.T) {
	good := write(t, records(3))
	for name, c := range map[string]struct {
		data []byte
		is   error
		want string
	}{
		"empty":       {nil, gguf.ErrCorrupt, "0 bytes"},
		"another":     {[]byte("nothing of the kind"), gguf.ErrCorrupt, "does not end with PAR1"},
		"encrypted":   {append(bytes.Clone(good[:len(good)-4]), "PARE"...), gguf.ErrUnsupported, "encrypted"},
		"no footer":   {[]byte("PAR1\xff\xff\xff\x7fPAR1"), gguf.ErrCorrupt, "a footer of 2147483647 bytes"},
		"a long list": {[]byte("PAR1\x15\x02\x2c\xfc\xff\xff\xff\x7f\x00\x00\x00\x00\x0c\x00\x00\x00PAR1"), gguf.ErrCorrupt, "footer"},
		"another way": {write(t, records(3), parquet.Compression(&parquet.Brotli)), gguf.ErrUnsupported, "BROTLI"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(c.data)
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := own.Rows(bytes.NewReader(good), int64(len(good)), 100)
	require.ErrorIs(t, err, gguf.ErrUnsupported) // that much is not wanted
	_, err = own.Rows(bytes.NewReader(good[:100]), int64(len(good)), 1<<20)
	require.ErrorIs(t, err, io.EOF)
}

// TestBitFlips demands an error or rows, whatever byte is another.
func TestBitFlips(t *testing.T) {
	good := write(t, records(3), parquet.Compression(&parquet.Uncompressed))
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if _, err := read(bad); err != nil {
			require.NotErrorIs(t, err, io.EOF, i)
		}
	}
}

func FuzzRows(f *testing.F) {
	for version := 1; version <= 2; version++ {
		f.Add(write(f, records(4), parquet.DataPageVersion(version), parquet.Compression(&parquet.Uncompressed)))
	}
	f.Add(write(f, records(40), parquet.Compression(&parquet.Snappy), parquet.PageBufferSize(100)))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := read(data)
		if err != nil {
			return
		}
		for _, row := range rows {
			require.True(t, json.Valid(row), "%s", row)
		}
	})
}
