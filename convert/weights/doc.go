// Package weights describes the tensors of checkpoints, and how other tensors are
// made of them, without reading any: a tensor is an expression, a checkpoint a set
// of them.
//
// [Rows] is a tensor in the order of Hugging Face's files. A safetensors file has
// some, and [Stack], [Slice], [Interleave], [Transpose], [Map] and [Compute] make others of
// them. Data is read when it is asked for, a few rows at a time, and goes through every
// expression on its way: nothing is ever held whole.
//
// A [Set] is tensors by name. A directory of safetensors files is one, and so is
// what is read from others: a checkpoint whose packed weights are unpacked, or
// several models merged into a mixture of experts.
//
//	q := set.Get("model.layers.0.self_attn.q_proj.weight")
//	q = weights.Interleave(q, 32) // as llama.cpp rotates heads
//	rows, length := weights.Count(q.Shape())
//	values := make([]float32, rows*length)
//	err := q.ReadRows(values, 0, rows)
package weights
