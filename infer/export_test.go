package infer

// NewModel is newModel.
var NewModel = newModel
