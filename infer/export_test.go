package infer

import (
	"context"
	"reflect"
	"sync"
)

// NewModel is newModel.
var NewModel = newModel

// TopK is topK.
func TopK(dst []int32, scores []float32, n int) { topK(&worker{}, dst, scores, n) }

// MemoryOf is Lockstep of models. It returns how many bytes were held at once for it, and how many the plan has for the tokens that were run together
// at most. Logits may be told at the same time.
func MemoryOf(ctx context.Context, models []*Model, chunks []Chunk, tell func(logits []float32)) (taken, planned int64, err error) {
	var l *lockstep
	var mu sync.Mutex
	look := func() {
		taken = max(taken, runtimeBytes+bytesHeld(reflect.ValueOf(l).Elem(), make(map[uintptr]bool)))
		text := l.chunks[len(l.chunks)-1].text
		for _, c := range l.chunks {
			text = max(text, c.text)
		}
		planned = max(planned, l.plan.bytes(text, len(l.positions)))
	}
	l = newLockstep(models, Observer{
		Residual: func(Streams) { look() },
		Logits: func(_, _, _ int, logits, _ []float32) {
			mu.Lock()
			defer mu.Unlock()
			look()
			tell(logits)
		},
	})
	return taken, planned, l.run(ctx, chunks)
}

// bytesHeld returns what slices of numbers take in a value and in what it holds, but for models. Those that were seen are left out.
func bytesHeld(v reflect.Value, seen map[uintptr]bool) (sum int64) {
	switch v.Kind() {
	case reflect.Slice:
		if v.Cap() == 0 || seen[v.Pointer()] {
			return 0
		}
		seen[v.Pointer()] = true
		switch elem := v.Type().Elem(); elem.Kind() {
		case reflect.Struct, reflect.Slice:
			for i := range v.Len() {
				sum += bytesHeld(v.Index(i), seen)
			}
		case reflect.Pointer, reflect.Interface, reflect.Func:
		default:
			sum = int64(v.Cap()) * int64(elem.Size())
		}
	case reflect.Array:
		for i := range v.Len() {
			sum += bytesHeld(v.Index(i), seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			sum += bytesHeld(v.Field(i), seen)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if value := it.Value(); value.Kind() == reflect.Pointer {
				sum += bytesHeld(value.Elem(), seen)
			} else {
				sum += bytesHeld(value, seen)
			}
		}
	}
	return sum
}
