//go:build !linux && !darwin

package files

// CheckRoom cannot tell here how much room a disk has.
func CheckRoom(string, int64) error { return nil }
