package infer

// NewModel is newModel.
var NewModel = newModel

// TopK is topK.
func TopK(dst []int32, scores []float32, n int) { topK(&worker{}, dst, scores, n) }
