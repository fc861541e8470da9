package eval

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	parquetformat "github.com/parquet-go/parquet-go/format"
	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

// parquetFile returns a file of some rows, with lists, dictionaries and compressed pages.
func parquetFile(t testing.TB, options ...parquet.WriterOption) []byte {
	type row struct {
		Q       string   `parquet:"q,dict"`
		Choices []string `parquet:"choices,list"`
		N       *int64   `parquet:"n,optional"`
	}
	var file bytes.Buffer
	rows := []row{{"one", []string{"a", "b"}, new(int64(1))}, {"one", nil, nil}, {"two", []string{"c"}, nil}}
	require.NoError(t, parquet.Write(&file, rows, options...))
	return file.Bytes()
}

// withFooter returns a Parquet file of a footer alone.
func withFooter(footer []byte) []byte {
	file := append([]byte("PAR1"), footer...)
	return append(binary.LittleEndian.AppendUint32(file, uint32(len(footer))), "PAR1"...)
}

// A few bytes that announce much take little memory.
func TestParquetAnnouncesTooMuch(t *testing.T) {
	// Fields of FileMetaData: 2 is the list of columns, 4 that of row groups, 6 who wrote it.
	for name, file := range map[string][]byte{
		"a footer longer than the file": append(binary.LittleEndian.AppendUint32([]byte("PAR1"), 0xfffffff0), "PAR1"...),
		"columns":                       withFooter([]byte{0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07}),
		"row groups":                    withFooter([]byte{0x49, 0xfc, 0xff, 0xff, 0xff, 0x07}),
		"row groups that are there":     withFooter(append([]byte{0x49, 0xfc, 0x80, 0x80, 0x40}, make([]byte, 1<<20)...)),
		"a text":                        withFooter([]byte{0x68, 0xff, 0xff, 0xff, 0xff, 0x07}),
		"depth":                         withFooter(bytes.Repeat([]byte{0x1c}, 1<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := readParquet(bytes.NewReader(file), int64(len(file)))
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, gguf.ErrCorrupt)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20))
		})
	}
}

// Pages that become longer than they say are not unpacked.
func TestParquetPagesAreAsLongAsTheySay(t *testing.T) {
	long := make([]byte, 1<<20)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write(long)
	require.NoError(t, errors.Join(err, z.Close()))
	squeezer, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	for codec, page := range map[parquetformat.CompressionCodec][]byte{
		parquetformat.Gzip:   zipped.Bytes(),
		parquetformat.Zstd:   squeezer.EncodeAll(long, nil),
		parquetformat.Snappy: snappy.Encode(nil, long),
	} {
		stored := io.NewSectionReader(bytes.NewReader(page), 0, int64(len(page)))
		require.NoError(t, checkPage(stored, codec, &parquetformat.PageHeader{UncompressedPageSize: 1 << 20}), codec)
		stored = io.NewSectionReader(bytes.NewReader(page), 0, int64(len(page)))
		require.ErrorIs(t, checkPage(stored, codec, &parquetformat.PageHeader{UncompressedPageSize: 1<<20 - 1}), gguf.ErrCorrupt, codec)
	}
}

func FuzzParquet(f *testing.F) {
	f.Add(parquetFile(f))
	f.Add(parquetFile(f, parquet.Compression(&parquet.Snappy)))
	f.Add(parquetFile(f, parquet.DataPageVersion(1), parquet.Compression(&parquet.Zstd)))
	f.Add(withFooter([]byte{0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07}))
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := readParquet(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			require.NotErrorIs(t, err, io.EOF)
			require.Empty(t, rows)
		}
	})
}
