package display

import (
	"fmt"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bytes writes a number of bytes in binary units with three digits, such as 5.49 MiB.
func Bytes(n int64) string {
	value, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1000 {
			break
		}
		value, unit = value/1024, next
	}
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.*f %s", max(0, 2-int(math.Log10(max(1, value)))), value, unit)
}

// Count writes a count with three digits, such as 24.2 B.
func Count(n int64) string {
	v, unit := float64(n), ""
	for _, next := range []string{" K", " M", " B", " T"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, next
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + unit
}

// Percent writes a part of a whole.
func Percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// Seconds writes how long something took.
func Seconds(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// ByteRate writes bytes per second.
func ByteRate(perSecond float64) string {
	switch {
	case perSecond < 1e6:
		return fmt.Sprintf("%.0f KB/s", perSecond/1e3)
	case perSecond < 1e8:
		return fmt.Sprintf("%.1f MB/s", perSecond/1e6)
	}
	return fmt.Sprintf("%.2f GB/s", perSecond/1e9)
}

// TokenRate writes tokens per second.
func TokenRate(perSecond float64) string {
	if perSecond < 10 {
		return fmt.Sprintf("%.2f tokens/s", perSecond)
	}
	return fmt.Sprintf("%.0f tokens/s", perSecond)
}

// Shape writes the lengths of a tensor's dimensions, such as 4096 x 32000.
func Shape(shape []int64) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", " x "), "[]")
}

// Stem returns the name of a file without directory and extension.
func Stem(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

// ModelStem returns what a model is called by the path of its file: Stem, without the number of a split file.
func ModelStem(path string) string { return splitNumber.ReplaceAllString(Stem(path), "") }

var splitNumber = regexp.MustCompile(`-\d{5}-of-\d{5}$`)
