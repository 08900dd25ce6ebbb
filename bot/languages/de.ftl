### Sätze für Chats, auf Deutsch.

## Answers

seen = Zu sehen: { $game } { $sure } ({ $agreeing }/{ $frames })
no-game-known = kein Spiel, das ich kenne
seen-unknown = Zu sehen: { no-game-known } (am nächsten: { $game }; { $frames ->
    [one] 1 Bild
   *[other] { $frames } Bilder
})
seen-unknown-like = Kein Spiel, das ich kenne; sieht aus wie: { $genres }
declared = Angegeben: { $category }
frame-line = Bild { $number }: { $game } mit { $confidence } % Sicherheit.
score-line = { $game } mit einem Wert von { $score }
not-a-game = kein Spiel (Desktop, Webcam, Wartebild)
unknown-game = ein unbekanntes Spiel

## Kinds of game, by their ids in the model

genre-action-adventure = Action-Adventure
genre-arcade = Arcade
genre-battle-royale = Battle Royale
genre-board-game = Brettspiel
genre-card-game = Kartenspiel
genre-fighting = Kampfspiel
genre-first-person = Ich-Perspektive
genre-horror = Horror
genre-moba = MOBA
genre-online-world = Online-Rollenspiel
genre-pixel-art = Pixelgrafik
genre-platformer = Jump ’n’ Run
genre-puzzle = Rätsel
genre-racing = Rennspiel
genre-rhythm = Rhythmusspiel
genre-roguelike = Roguelike
genre-role-playing = Rollenspiel
genre-sandbox = Bauspiel
genre-shoot-em-up = Shoot ’em up
genre-shooter = Shooter
genre-simulation = Simulation
genre-sports = Sport
genre-strategy = Strategie
genre-survival = Survival

## When there is no answer

offline = { $channel } ist offline.
offline-knowing = { $channel } ist offline ({ $facts }).
last-seen = zuletzt gesehen: { $game }
last-seen-ago = zuletzt gesehen: { $game }, { $ago }
last-declared = zuletzt angegeben: { $category }
not-found = Es gibt keinen Kanal namens { $channel }.
adverts = { $channel } zeigt gerade nur Werbung; frag in einer halben Minute noch einmal.
black = { $channel } zeigt gerade ein schwarzes Bild.
restricted = { $channel } ist nicht für alle offen (nur für Abonnenten, oder in dieser Region gesperrt).
left-alone = { $channel } hat mich gebeten, nicht hinzusehen.
unreachable = Ich konnte den Stream von { $channel } nicht erreichen; frag gleich noch einmal.
too-slow = Der Stream von { $channel } kam zu langsam, um etwas zu sehen; frag gleich noch einmal.
busy = Ich bin mit anderen Streams beschäftigt und kam nicht zu { $channel }; versuch es in { $duration } wieder.
busy-somehow = Ich bin mit anderen Streams beschäftigt und kam nicht zu { $channel }; versuch es gleich wieder.
bad-input = „{ $channel }“ ist kein Kanal, den ich ansehen kann.
failed = Bei mir ist etwas schiefgegangen. Es ist notiert; bitte versuch es noch einmal.
restarting = Ich werde gerade neu gestartet; bitte frag in einer Minute noch einmal.

## Channels that are none

channel-empty = Nenne einen Kanal, zum Beispiel: { $prefix }{ $word } ein_kanal
channel-too-short = „{ $text }“ ist zu kurz für einen Kanal: Ein Name hat 2 bis 25 Zeichen.
channel-too-long = „{ $text }“ ist zu lang für einen Kanal: Ein Name hat 2 bis 25 Zeichen.
channel-other-site = „{ $text }“ ist nicht auf der Seite, die ich ansehe; nenne den Namen eines Kanals.
channel-none = „{ $text }“ ist kein Kanal. Nenne seinen Namen oder seine Adresse, wie twitch.tv/ein_kanal.
channel-bad-character = „{ $text }“ ist kein Kanalname: Darin kommen nur die Buchstaben a bis z, Ziffern und _ vor.

## Times

seconds = { $number } s
minutes = { $number } min
hours = { $number } h
days = { $number ->
    [one] 1 Tag
   *[other] { $number } Tagen
}
ago = vor { $duration }
just-now = gerade eben

## Help

help-head = Ich kenne: { $usages }
about-game = welches Spiel der Stream des Kanals wirklich zeigt
about-verbose = dasselbe, Bild für Bild
about-flag = für Moderatoren: Was ich über diesen Kanal gesagt habe, ist falsch, dieses Spiel ist richtig
about-unflag = für Moderatoren: eine Meldung zurücknehmen
about-flags = für Moderatoren: welche Meldungen es gibt
about-games = welche Spiele ich kenne
about-timeline = welche Spiele heute Abend auf diesem Kanal zu sehen waren
about-watch = für Moderatoren: hier melden, wenn der Kanal ein anderes Spiel zeigt, als er angibt
about-model = welches Modell antwortet
about-optout = für Streamer: meinen Kanal in Ruhe lassen und löschen, was davon gespeichert ist
about-help = diese Liste
argument-channel = <Kanal>
argument-game = <richtiges Spiel>
argument-flag = <Nummer>
argument-filter = [Teil eines Namens]
argument-maybe-channel = [Kanal]
argument-switch = on|off
usage = Schreib es so: { $usage }
unrecognised = „{ $text }“ kenne ich nicht; { $prefix }{ $word } zählt auf, was ich kann.

## Model, games, timeline

model = Modell { $model }, das { $games ->
    [one] 1 Spiel
   *[other] { $games } Spiele
} kennt.
model-since = Modell { $model }, das { $games ->
    [one] 1 Spiel
   *[other] { $games } Spiele
} kennt; es antwortet seit { $since } UTC.
model-tried = Daneben erprobt: { $model }, dieselbe Antwort bei { $agreed } von { $looks } Proben, { $time } ms je Bild statt { $before } ms. { $why }
model-is-refused = { $model } wird nicht angenommen: { $why }
games-known = { $count ->
    [one] 1 Spiel
   *[other] { $count } Spiele
}: { $names }
games-more = … und { $count } weitere
games-none = Ich kenne kein Spiel wie „{ $text }“.
timeline-head = Heute Abend auf { $channel } zu sehen (UTC):
timeline-span = { $first }–{ $last } { $game }
timeline-moment = { $first } { $game }
timeline-none = Auf { $channel } war heute Abend nichts zu sehen.

## Flags

flag-accepted = Meldung { $number }: { $channel } zeigte { $game }. Danke, das nächste Modell lernt daraus.
flag-waits = Meldung { $number }: { $channel } zeigte { $game }. { $missing ->
    [one] Noch eine Person aus der Moderation muss
   *[other] Noch { $missing } Personen aus der Moderation müssen
} das sagen, bevor ich daraus lerne.
flag-disputed = Meldung { $number }: { $channel } zeigte { $game }. Jemand anders aus der Moderation sieht das anders; sie bleibt offen, bis ihr euch einig seid.
flag-changed = Meldung { $number } sagt jetzt { $game } statt { $before }.
flag-withdrawn = Meldung { $number } ist zurückgenommen: { $channel } als { $game }.
flag-not-found = Eine Meldung { $text } gibt es hier nicht.
flag-of-another = Meldung { $number } ist von jemand anderem; nur diese Person, oder wer mich betreibt, darf sie zurücknehmen.
flag-nothing = Ich habe { $channel } in letzter Zeit nicht angesehen, es gibt also nichts zu berichtigen. Frag erst { $prefix }{ $word } { $channel }.
flag-gone = Davon habe ich nichts mehr; lass mich noch einmal hinsehen, und berichtige das.
flag-which-game = Welches Spiel ist es? { $usage }
flag-only-moderators = Nur die Moderation kann mich berichtigen.
did-you-mean = Welches Spiel meinst du mit „{ $text }“: { $games }?
or = { $names } oder { $last }
game-not-known = Ich kenne kein Spiel wie „{ $text }“; { $prefix }{ $word } zählt die auf, die ich kenne.
flags-none = Es gibt keine Meldungen.
flags-none-of = Es gibt keine Meldungen zu { $channel }.
flags-head = { $count ->
    [one] 1 Meldung:
   *[other] { $count } Meldungen:
}
flag-line = { $number }: { $channel } ist { $game }, nicht { $before } ({ $state }; { $by }, { $on })
flag-line-right = { $number }: { $channel } ist { $game } ({ $state }; { $by }, { $on })
state-open = offen
state-accepted = angenommen
state-withdrawn = zurückgenommen
notice-learnt = Modell { $model } hat aus deiner Meldung { $number } gelernt: { $channel } als { $game }.
notice-model-taken = Modell { $model } antwortet jetzt an Stelle von { $before }.
notice-model-refused = Modell { $model } wird nicht angenommen, und { $answering } antwortet weiter. { $why }
notice-model-promoted = Modell { $model } rückt an die Stelle von { $before }. { $why }
notice-model-dropped = Modell { $model } wird nicht länger erprobt, und { $answering } antwortet weiter. { $why }
notice-model-rolled-back = Modell { $model } ist zurückgenommen, und { $answering } antwortet wieder. { $why }

## Watch

watch-on = Ich sehe { $channel } jetzt alle { $duration } an und melde hier, wenn der Kanal ein anderes Spiel zeigt, als er angibt.
watch-on-already = Ich beobachte { $channel } schon.
watch-off = Ich beobachte { $channel } nicht mehr.
watch-off-already = Ich beobachte { $channel } hier nicht.
watch-list = Hier beobachtet: { $channels }.
watch-list-none = Hier wird kein Kanal beobachtet.
watch-nowhere = Was beim Beobachten auffällt, wird in einem Chat gesagt; bitte dort darum, auf Discord oder Twitch.
watch-only-moderators = Nur die Moderation kann einen Kanal beobachten lassen.
watch-full = Hier werden schon so viele Kanäle beobachtet, dass ich keinen mehr annehme: { $count }.
mismatch = { $channel } gibt { $category } an, zeigt aber seit { $since } UTC { $game }.
mismatch-nothing = { $channel } gibt nichts an, zeigt aber seit { $since } UTC { $game }.

## Limits and refusals

cooldown = Langsam, bitte: Frag mich in { $duration } wieder.
command-off = { $prefix }{ $word } ist hier ausgeschaltet.
only-operator = Das kann nur, wer mich betreibt.
nothing-kept = Ich speichere hier nichts über Kanäle.

## Opting out

opted-out = Ich lasse { $channel } von jetzt an in Ruhe; { $frames ->
    [one] 1 Bild
   *[other] { $frames } Bilder
} davon gelöscht.
opt-out-whose = Sag { $prefix }{ $word } im Twitch-Chat mit dem Konto deines Kanals, oder frag, wer mich betreibt.
opt-out-only = Das kann nur { $channel } sagen, im Twitch-Chat, oder wer mich betreibt.

## On the evidence picture

tile-advert = Werbung
tile-adverts = { $count }× Werbung
tile-black = schwarz
tile-duplicate = dasselbe Bild
tile-failed = nicht angekommen

## Discord

label-command-game = spiel
label-command-game-about = Welches Spiel zeigt der Stream dieses Kanals wirklich?
label-command-flag = melden
label-command-flag-about = Für Moderatoren: Erkanntes ist falsch; das richtige Spiel nennen
label-command-unflag = zurücknehmen
label-command-unflag-about = Für Moderatoren: eine Meldung zurücknehmen
label-command-flags = meldungen
label-command-flags-about = Für Moderatoren: Welche Meldungen gibt es?
label-command-games = spiele
label-command-games-about = Welche Spiele sind bekannt?
label-command-timeline = verlauf
label-command-timeline-about = Welche Spiele waren heute auf diesem Kanal zu sehen?
label-command-watch = beobachten
label-command-watch-about = Für Moderatoren: hier melden, wenn der Kanal ein anderes Spiel zeigt, als er angibt
label-command-model = modell
label-command-model-about = Welches Modell antwortet?
label-command-help = hilfe
label-command-help-about = Was kann ich fragen?
label-command-optout = abmelden
label-command-optout-about = Für Streamer: meinen Kanal in Ruhe lassen und Gespeichertes löschen
label-command-misclassified = Falsch erkannt
label-option-channel = kanal
label-option-channel-about = Name oder Adresse eines Kanals
label-option-game = spiel
label-option-game-about = Das richtige Spiel
label-option-number = nummer
label-option-number-about = Die Nummer der Meldung
label-option-filter = filter
label-option-filter-about = Teil eines Spielnamens
label-option-on = an
label-option-on-about = Aus beendet es
label-button-right = Richtig
label-button-wrong = Falsch…
label-button-again = Nochmal
label-choose = Was ist gemeint?
label-form-title = Welches Spiel ist richtig?
label-form-game = Das richtige Spiel
label-field-seen = Zu sehen
label-field-declared = Angegeben
label-field-frames = Bilder
label-field-model = Modell
label-no-answer-of-mine = Das ist keine Antwort von mir, die gemeldet werden kann.
label-went-wrong = { failed }
label-unknown = { no-game-known }
