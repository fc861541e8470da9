package chat

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrTurns means that a template does more than to write turns one after the other.
var ErrTurns = errors.New("the chat template is more than turns one after the other")

// Turns are what a simple template writes around what is said.
type Turns struct {
	Start string // once: the first token, or ""
	// Default stands in place of an instruction if there is none.
	Default string
	// System says that there may be an instruction, between SystemStart and SystemEnd: before the first turn or, with SystemInUser, in it.
	System, SystemInUser   bool
	SystemStart, SystemEnd string
	UserStart, UserEnd     string
	// AssistantStart and AssistantEnd stand around an answer. Prompt is in place of the first where the answer is still to come.
	AssistantStart, AssistantEnd, Prompt string
}

// Write returns a conversation as the turns have it: an instruction, which may be "", and what is said in turn, by the user first and last.
func (t Turns) Write(system string, said ...string) string {
	var b strings.Builder
	b.WriteString(t.Start)
	if system != "" {
		system = t.SystemStart + system + t.SystemEnd
	} else {
		b.WriteString(t.Default)
	}
	if !t.SystemInUser {
		b.WriteString(system)
		system = ""
	}
	for i, text := range said {
		if i%2 == 0 {
			b.WriteString(t.UserStart + system + text + t.UserEnd)
			system = ""
		} else {
			b.WriteString(t.AssistantStart + text + t.AssistantEnd)
		}
	}
	return b.String() + t.Prompt
}

// Turns takes the template apart. The error wraps ErrTurns if what it found does not write the same conversations; what AssistantEnd is may be
// right all the same. It is the context's if that is done.
func (t *Template) Turns(ctx context.Context) (Turns, error) {
	const system, first, answer, second, again = "an instruction", "the first question", "an answer", "another question", "one more answer"
	user := func(text string) Message { return Message{"user", text} }
	assistant := func(text string) Message { return Message{"assistant", text} }
	var turns Turns
	texts := make([]string, 3)
	for i, messages := range [][]Message{{user(first)}, {user(first), assistant(answer)}, {user(first), assistant(answer), user(second)}} {
		var err error
		if texts[i], err = t.render(ctx, messages, i != 1); err != nil {
			return turns, errors.Join(ErrTurns, err)
		}
	}
	before, after, ok := strings.Cut(texts[0], first)
	if !ok {
		return turns, ErrTurns
	}
	_, turns.AssistantEnd, _ = strings.Cut(texts[1], answer)
	_, rest, _ := strings.Cut(texts[2], first)
	answered, rest, _ := strings.Cut(rest, answer)
	between, _, _ := strings.Cut(rest, second)
	// Where the user's turn ends and an answer begins is the same text, so it may as well be where the two differ.
	turns.UserEnd = commonStart(after, answered)
	turns.Prompt, turns.AssistantStart = after[len(turns.UserEnd):], answered[len(turns.UserEnd):]
	if turns.UserStart, ok = strings.CutPrefix(between, turns.AssistantEnd); !ok {
		return turns, ErrTurns
	}
	if before, ok = strings.CutSuffix(before, turns.UserStart); !ok {
		return turns, ErrTurns
	}
	turns.Default = before
	if bos := t.tokens["bos_token"]; strings.HasPrefix(before, bos) {
		turns.Start, turns.Default = bos, before[len(bos):]
	}
	instructed, err := t.Render(ctx, []Message{{"system", system}, user(first)})
	if start, rest, ok := strings.Cut(instructed, system); err == nil && ok {
		end, _, _ := strings.Cut(rest, first)
		turns.System = true
		start = strings.TrimPrefix(start, turns.Start)
		if turns.SystemEnd, ok = strings.CutSuffix(end, turns.UserStart); ok && turns.UserStart != "" {
			turns.SystemStart = start
		} else if turns.SystemStart, ok = strings.CutPrefix(start, turns.UserStart); ok {
			turns.SystemInUser, turns.SystemEnd = true, end
		} else {
			return turns, ErrTurns
		}
	}
	for _, instruction := range []string{"", system} {
		messages := []Message{user(first), assistant(answer), user(second), assistant(again), user(first)}
		if instruction != "" {
			if !turns.System {
				continue
			}
			messages = append([]Message{{"system", instruction}}, messages...)
		}
		text, err := t.Render(ctx, messages)
		if err != nil || text != turns.Write(instruction, first, answer, second, again, first) {
			return turns, errors.Join(ErrTurns, err)
		}
	}
	return turns, ctx.Err()
}

// commonStart returns the longest text that both begin with.
func commonStart(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	return a[:n]
}
