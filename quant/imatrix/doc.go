// Package imatrix reads and writes importance matrices: how much each input column of
// each weight matrix mattered on a calibration text, as llama-imatrix measures
// it. Quantizers spend their bits where the matrix says they count.
//
// Two formats are read: GGUF files, which have the sum of squared inputs
// (NAME.in_sum2) and the number of rows that went into it (NAME.counts), and
// the .dat files of earlier versions. What [Matrix.Read] gives is what
// llama-quantize works with: the mean square of each column's input. An expert
// that no token was routed to has no mean; all its columns count the same, and
// [Matrix.Unseen] tells of it.
//
// Files are not trusted: sizes are checked against the file, and sums that are
// negative or not finite are refused. Values stay in the file until they are
// read, so memory is the names and counts, however large the model.
//
//	m, err := imatrix.Open("imatrix.gguf")
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	importance := make([]float32, 4096)
//	err = m.Read(importance, "blk.0.attn_q.weight", 0)
//
// [Sums] is what new ones are made of, from measurements and from other files.
package imatrix
