//go:build !unix

package gguf

func syncDir(string) error { return nil }
