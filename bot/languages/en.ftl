### Sentences for chats, in English. Every language has the same messages with the same placeholders.

## Answers

seen = Seen: { $game } { $sure } ({ $agreeing }/{ $frames })
no-game-known = no game that I know
seen-unknown = Seen: { no-game-known } (nearest: { $game }; { $frames ->
    [one] 1 frame
   *[other] { $frames } frames
})
seen-unknown-like = Not a game I know; looks like: { $genres }
declared = Declared: { $category }
frame-line = Frame { $number }: { $game } with a { $confidence }% confidence.
score-line = { $game } with a score of { $score }
not-a-game = no game (a desktop, a webcam, a waiting screen)
unknown-game = an unknown game

## Kinds of game, by their ids in the model

genre-action-adventure = action adventure
genre-arcade = arcade
genre-battle-royale = battle royale
genre-board-game = board game
genre-card-game = card game
genre-fighting = fighting
genre-first-person = first person
genre-horror = horror
genre-moba = MOBA
genre-online-world = online role-playing
genre-pixel-art = pixel art
genre-platformer = platformer
genre-puzzle = puzzle
genre-racing = racing
genre-rhythm = rhythm
genre-roguelike = roguelike
genre-role-playing = role-playing
genre-sandbox = building
genre-shoot-em-up = shoot 'em up
genre-shooter = shooter
genre-simulation = simulation
genre-sports = sports
genre-strategy = strategy
genre-survival = survival

## When there is no answer

offline = { $channel } is offline.
offline-knowing = { $channel } is offline ({ $facts }).
last-seen = last seen: { $game }
last-seen-ago = last seen: { $game }, { $ago }
last-declared = last declared: { $category }
not-found = There is no channel called { $channel }.
adverts = { $channel } shows nothing but adverts just now; ask again in half a minute.
black = { $channel } shows a black picture just now.
restricted = { $channel } is not open to everyone (subscribers only, or closed in this region).
left-alone = { $channel } asked me not to look.
unreachable = I could not reach the stream of { $channel }; ask again in a moment.
too-slow = The stream of { $channel } came too slowly to see anything; ask again in a moment.
busy = I am busy with other streams and could not look at { $channel }; try again in { $duration }.
busy-somehow = I am busy with other streams and could not look at { $channel }; try again in a moment.
bad-input = “{ $channel }” is no channel that I can look at.
failed = Something went wrong on my side. It has been logged; please try again.
restarting = I am being restarted; please ask again in a minute.

## Channels that are none

channel-empty = Name a channel, for example: { $prefix }{ $word } some_channel
channel-too-short = “{ $text }” is too short for a channel: a name has 2 to 25 characters.
channel-too-long = “{ $text }” is too long for a channel: a name has 2 to 25 characters.
channel-other-site = “{ $text }” is not on the site that I look at; give a channel's name.
channel-none = “{ $text }” is not a channel. Give its name or address, like twitch.tv/some_channel.
channel-bad-character = “{ $text }” is not a channel name: only the letters a to z, digits and _ occur in one.

## Times

seconds = { $number } s
minutes = { $number } min
hours = { $number } h
days = { $number ->
    [one] 1 day
   *[other] { $number } days
}
ago = { $duration } ago
just-now = just now

## Help

help-head = I know: { $usages }
about-game = which game the channel's live stream really shows
about-verbose = the same, frame by frame
about-flag = for moderators: what I said of this channel is wrong, this game is right
about-unflag = for moderators: take a flag back
about-flags = for moderators: which flags are there
about-games = which games I know
about-timeline = which games were seen on this channel tonight
about-watch = for moderators: say here when the channel shows another game than it declares
about-model = which model answers
about-optout = for broadcasters: leave my channel alone, and remove what was kept of it
about-help = this list
argument-channel = <channel>
argument-game = <right game>
argument-flag = <number>
argument-filter = [part of a name]
argument-maybe-channel = [channel]
argument-switch = on|off
usage = Write it like this: { $usage }
unrecognised = I do not know “{ $text }”; { $prefix }{ $word } lists what I do.

## Model, games, timeline

model = Model { $model }, which knows { $games ->
    [one] 1 game
   *[other] { $games } games
}.
model-since = Model { $model }, which knows { $games ->
    [one] 1 game
   *[other] { $games } games
}; it answers since { $since } UTC.
model-tried = Tried beside it: { $model }, the same answer at { $agreed } of { $looks } looks, { $time } ms a frame instead of { $before } ms. { $why }
model-is-refused = { $model } is refused: { $why }
games-known = { $count ->
    [one] 1 game
   *[other] { $count } games
}: { $names }
games-more = … and { $count } more
games-none = I know no game like “{ $text }”.
timeline-head = Seen on { $channel } tonight (UTC):
timeline-span = { $first }–{ $last } { $game }
timeline-moment = { $first } { $game }
timeline-none = Nothing has been seen on { $channel } tonight.

## Flags

flag-accepted = Flag { $number }: { $channel } showed { $game }. Thank you, the next model learns from it.
flag-waits = Flag { $number }: { $channel } showed { $game }. { $missing ->
    [one] One more moderator has
   *[other] { $missing } more moderators have
} to say so before I learn from it.
flag-disputed = Flag { $number }: { $channel } showed { $game }. Another moderator says otherwise; it stays open until you agree.
flag-changed = Flag { $number } now says { $game } instead of { $before }.
flag-withdrawn = Flag { $number } is withdrawn: { $channel } as { $game }.
flag-not-found = There is no flag { $text } here.
flag-of-another = Flag { $number } is another moderator's; only they, or whoever runs me, may withdraw it.
flag-nothing = I have not looked at { $channel } lately, so there is nothing to put right. Ask { $prefix }{ $word } { $channel } first.
flag-gone = I keep nothing of that look any more; look again, and flag that.
flag-which-game = Which game is it? { $usage }
flag-only-moderators = Only moderators can put me right.
did-you-mean = Which game do you mean by “{ $text }”: { $games }?
or = { $names } or { $last }
game-not-known = I know no game like “{ $text }”; { $prefix }{ $word } lists those that I know.
flags-none = There are no flags.
flags-none-of = There are no flags of { $channel }.
flags-head = { $count ->
    [one] 1 flag:
   *[other] { $count } flags:
}
flag-line = { $number }: { $channel } is { $game }, not { $before } ({ $state }; { $by }, { $on })
flag-line-right = { $number }: { $channel } is { $game } ({ $state }; { $by }, { $on })
state-open = open
state-accepted = accepted
state-withdrawn = withdrawn
notice-learnt = Model { $model } has learnt from your flag { $number }: { $channel } as { $game }.
notice-model-taken = Model { $model } answers now, in the place of { $before }.
notice-model-refused = Model { $model } is refused, and { $answering } goes on answering. { $why }
notice-model-promoted = Model { $model } is promoted over { $before }. { $why }
notice-model-dropped = Model { $model } is tried no longer, and { $answering } goes on answering. { $why }
notice-model-rolled-back = Model { $model } is taken back, and { $answering } answers again. { $why }

## Watch

watch-on = I look at { $channel } every { $duration } now, and say here when it shows another game than it declares.
watch-on-already = I watch { $channel } already.
watch-off = I no longer watch { $channel }.
watch-off-already = I do not watch { $channel } here.
watch-list = Watched here: { $channels }.
watch-list-none = No channel is watched here.
watch-nowhere = What a watch notices is said in a chat; ask for it there, on Discord or Twitch.
watch-only-moderators = Only moderators can have a channel watched.
watch-full = So many channels are watched here that I take no more: { $count }.
mismatch = { $channel } declares { $category }, but shows { $game } since { $since } UTC.
mismatch-nothing = { $channel } declares nothing, but shows { $game } since { $since } UTC.

## Limits and refusals

cooldown = Slowly, please: ask me again in { $duration }.
command-off = { $prefix }{ $word } is off here.
only-operator = Only whoever runs me can do that.
nothing-kept = I keep nothing of any channel here.

## Opting out

opted-out = I leave { $channel } alone from now on; { $frames ->
    [one] 1 frame
   *[other] { $frames } frames
} of it removed.
opt-out-whose = Say { $prefix }{ $word } in Twitch chat with the account of your channel, or ask whoever runs me.
opt-out-only = Only { $channel } can say that, in Twitch chat, or whoever runs me.

## On the evidence picture

tile-advert = advert
tile-adverts = { $count } adverts
tile-black = black
tile-duplicate = same picture
tile-failed = not received

## Discord

label-command-game = game
label-command-game-about = Which game does this channel's live stream really show?
label-command-flag = flag
label-command-flag-about = For moderators: what was recognised of this channel is wrong; name the right game
label-command-unflag = unflag
label-command-unflag-about = For moderators: take a flag back
label-command-flags = flags
label-command-flags-about = For moderators: which flags are there?
label-command-games = games
label-command-games-about = Which games are known?
label-command-timeline = timeline
label-command-timeline-about = Which games were seen on this channel tonight?
label-command-watch = watch
label-command-watch-about = For moderators: say here when this channel shows another game than it declares
label-command-model = model
label-command-model-about = Which model answers?
label-command-help = help
label-command-help-about = What can I ask?
label-command-optout = optout
label-command-optout-about = For broadcasters: leave my channel alone, and remove what was kept of it
label-command-misclassified = Flag as misclassified
label-option-channel = channel
label-option-channel-about = A channel's name or address
label-option-game = game
label-option-game-about = The right game
label-option-number = number
label-option-number-about = The number of the flag
label-option-filter = filter
label-option-filter-about = Part of a game's name
label-option-on = on
label-option-on-about = Off ends it
label-button-right = Right
label-button-wrong = Wrong…
label-button-again = Again
label-choose = Which one is meant?
label-form-title = Which game is right?
label-form-game = The right game
label-field-seen = Seen
label-field-declared = Declared
label-field-frames = Frames
label-field-model = Model
label-no-answer-of-mine = That is no answer of mine that can be flagged.
label-went-wrong = { failed }
label-unknown = { no-game-known }
