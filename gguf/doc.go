// Package gguf reads and writes GGUF, the container in which ggml's programs
// keep models, and defines [Source], the view of a model that everything in
// this module reads from and writes to.
//
// A GGUF file is a header of ordered key-value pairs and tensor infos,
// followed by the tensors' data, each aligned (to 32 bytes unless
// general.alignment says otherwise). [Open] reads versions 2 and 3 in either
// byte order, and sets of split files as one; [Write] writes version 3,
// little-endian, one file or split, from any Source, with memory bounded by
// the number of threads.
//
// Files are not trusted. Whatever a header says is checked against the size of
// the file before it is used: a header may take at most 256 MiB and list
// at most 262,144 tensors and as many pairs, data is aligned to at most 1 MiB, tensors have
// at most four dimensions, arrays cannot be nested (ggml refuses them too), keys
// and tensor names must differ, and the data of every tensor must begin exactly
// where the sizes of the ones before it put it. What follows the last tensor does not
// count, as in ggml. Errors wrap [ErrNotGGUF],
// [ErrCorrupt] or [ErrUnsupported] and name file, field and offset.
//
// The package knows the geometry of every block type of ggml but not what the
// bits in a block mean: that is package quant.
//
//	f, err := gguf.Open("model.gguf")
//	if err != nil {
//		return err
//	}
//	defer f.Close()
//	for i, t := range f.Tensors() {
//		row := make([]byte, t.RowBytes())
//		if err := f.ReadRows(row, i, 0, 1); err != nil {
//			return err
//		}
//		fmt.Println(t.Name, t.Type, t.Shape, row[0])
//	}
//
// The format is specified in ggml's docs/gguf.md; where that is silent,
// gguf.cpp is followed.
package gguf
