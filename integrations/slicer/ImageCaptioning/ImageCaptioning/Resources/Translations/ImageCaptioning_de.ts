<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="de_DE" sourcelanguage="en_US">
    <context>
        <name>ImageCaptioning</name>
        <message>
            <source>Image Captioning</source>
            <translation>Bildbeschreibung</translation>
        </message>
        <message>
            <source>Describes the slice of a view in words: a draft by a machine, for research, not for diagnosis.</source>
            <translation>Beschreibt die Schicht einer Ansicht in Worten: ein maschineller Entwurf, für die Forschung, nicht zur Diagnose.</translation>
        </message>
        <message>
            <source>See the &lt;a href="{url}"&gt;documentation&lt;/a&gt;.</source>
            <translation>Siehe die &lt;a href="{url}"&gt;Dokumentation&lt;/a&gt;.</translation>
        </message>
        <message>
            <source>The method is MSMedCap: Zhang et al., ICASSP 2024, {link}.</source>
            <translation>Das Verfahren ist MSMedCap: Zhang et al., ICASSP 2024, {link}.</translation>
        </message>
        <message>
            <source>Draft by a machine. For research, not for diagnosis.</source>
            <translation>Maschineller Entwurf. Für die Forschung, nicht zur Diagnose.</translation>
        </message>
        <message>
            <source>Captioner</source>
            <translation>Beschreiber</translation>
        </message>
        <message>
            <source>Image</source>
            <translation>Bild</translation>
        </message>
        <message>
            <source>Volume:</source>
            <translation>Volumen:</translation>
        </message>
        <message>
            <source>The volume, picture or sequence that is captioned</source>
            <translation>Das Volumen, Bild oder die Sequenz, die beschrieben wird</translation>
        </message>
        <message>
            <source>View:</source>
            <translation>Ansicht:</translation>
        </message>
        <message>
            <source>The slice view whose slice is captioned</source>
            <translation>Die Schichtansicht, deren Schicht beschrieben wird</translation>
        </message>
        <message>
            <source>Window:</source>
            <translation>Fenster:</translation>
        </message>
        <message>
            <source>Whose brightness and contrast the captioner sees</source>
            <translation>Wessen Helligkeit und Kontrast der Beschreiber sieht</translation>
        </message>
        <message>
            <source>As shown in the view</source>
            <translation>Wie in der Ansicht</translation>
        </message>
        <message>
            <source>The captioner's choice</source>
            <translation>Wahl des Beschreibers</translation>
        </message>
        <message>
            <source>Options</source>
            <translation>Optionen</translation>
        </message>
        <message>
            <source>Only inside:</source>
            <translation>Nur innerhalb:</translation>
        </message>
        <message>
            <source>All outside this segment is darkened before the slice is captioned</source>
            <translation>Alles außerhalb dieses Segments wird vor der Beschreibung abgedunkelt</translation>
        </message>
        <message>
            <source>Begin with:</source>
            <translation>Beginne mit:</translation>
        </message>
        <message>
            <source>First words of the caption; the captioner goes on from there</source>
            <translation>Erste Worte der Beschreibung; der Beschreiber fährt damit fort</translation>
        </message>
        <message>
            <source>first words of the caption, or nothing</source>
            <translation>erste Worte der Beschreibung, oder nichts</translation>
        </message>
        <message>
            <source>Beams:</source>
            <translation>Varianten:</translation>
        </message>
        <message>
            <source>Captions that are weighed against one another: more take longer</source>
            <translation>Beschreibungen, die gegeneinander abgewogen werden: Mehr dauern länger</translation>
        </message>
        <message>
            <source>Explain each word</source>
            <translation>Jedes Wort erklären</translation>
        </message>
        <message>
            <source>Find out which places each word rests on; takes about as long as the caption</source>
            <translation>Ermittelt, auf welchen Stellen jedes Wort beruht; dauert etwa so lange wie die Beschreibung</translation>
        </message>
        <message>
            <source>Caption this slice</source>
            <translation>Diese Schicht beschreiben</translation>
        </message>
        <message>
            <source>Caption what the view shows (Ctrl+Shift+C)</source>
            <translation>Beschreibt, was die Ansicht zeigt (Strg+Umschalt+C)</translation>
        </message>
        <message>
            <source>Cancel</source>
            <translation>Abbrechen</translation>
        </message>
        <message>
            <source>Stop what is under way</source>
            <translation>Beendet, was gerade läuft</translation>
        </message>
        <message>
            <source>Next least certain</source>
            <translation>Nächste unsichere</translation>
        </message>
        <message>
            <source>Go on with the caption that is least certain: of the server, or among the drafts here (Ctrl+Shift+N)</source>
            <translation>Weiter mit der unsichersten Beschreibung: vom Server oder unter den Entwürfen hier (Strg+Umschalt+N)</translation>
        </message>
        <message>
            <source>All loaded volumes</source>
            <translation>Alle geladenen Volumen</translation>
        </message>
        <message>
            <source>Draft a caption for the middle slice of every loaded volume</source>
            <translation>Entwirft eine Beschreibung der mittleren Schicht jedes geladenen Volumens</translation>
        </message>
        <message>
            <source>Caption</source>
            <translation>Beschreibung</translation>
        </message>
        <message>
            <source>Captions of this volume</source>
            <translation>Beschreibungen dieses Volumens</translation>
        </message>
        <message>
            <source>Double-click a caption to see its slice and to edit it</source>
            <translation>Doppelklick zeigt die Schicht einer Beschreibung und lässt sie bearbeiten</translation>
        </message>
        <message>
            <source>Learning</source>
            <translation>Lernen</translation>
        </message>
        <message>
            <source>The MONAI Label server learns from the captions that were sent back.</source>
            <translation>Der MONAI-Label-Server lernt aus den zurückgesendeten Beschreibungen.</translation>
        </message>
        <message>
            <source>Train on the corrected captions</source>
            <translation>Mit den korrigierten Beschreibungen trainieren</translation>
        </message>
        <message>
            <source>Fine-tune on the captions that people reviewed; takes minutes to hours</source>
            <translation>Feinabstimmung mit den geprüften Beschreibungen; dauert Minuten bis Stunden</translation>
        </message>
    </context>
    <context>
        <name>captioners.local</name>
        <message>
            <source>the captioning process ended: {reason}</source>
            <translation>Der Beschreibungsprozess endete: {reason}</translation>
        </message>
        <message>
            <source>{bundle} is not the captioning bundle: choose the folder with configs and scripts</source>
            <translation>{bundle} ist nicht das Beschreibungs-Bundle: Wählen Sie den Ordner mit configs und scripts</translation>
        </message>
        <message>
            <source>{python} cannot be started: choose the Python of the bundle</source>
            <translation>{python} lässt sich nicht starten: Wählen Sie das Python des Bundles</translation>
        </message>
        <message>
            <source>it said nothing</source>
            <translation>er meldete nichts</translation>
        </message>
    </context>
    <context>
        <name>captioners.server</name>
        <message>
            <source>'{url}' is no server address: give one such as http://127.0.0.1:8000</source>
            <translation>„{url}“ ist keine Serveradresse: Geben Sie eine an wie http://127.0.0.1:8000</translation>
        </message>
        <message>
            <source>{url} runs another MONAI Label app: start this one with 'make label'</source>
            <translation>Auf {url} läuft eine andere MONAI-Label-App: Starten Sie diese mit „make label“</translation>
        </message>
        <message>
            <source>the training was stopped on the server</source>
            <translation>Das Training wurde auf dem Server angehalten</translation>
        </message>
        <message>
            <source>the training failed: {reason}</source>
            <translation>Das Training ist fehlgeschlagen: {reason}</translation>
        </message>
        <message>
            <source>{url} does not answer as MONAI Label does: check the address</source>
            <translation>{url} antwortet nicht wie MONAI Label: Prüfen Sie die Adresse</translation>
        </message>
        <message>
            <source>the certificate of {url} is not trusted: name its authority's file</source>
            <translation>Dem Zertifikat von {url} wird nicht vertraut: Geben Sie die Datei der Zertifizierungsstelle an</translation>
        </message>
        <message>
            <source>no answer from {url} ({kind}): is MONAI Label started?</source>
            <translation>Keine Antwort von {url} ({kind}): Ist MONAI Label gestartet?</translation>
        </message>
        <message>
            <source>{url} asks for a token that allows this: sign in and enter it</source>
            <translation>{url} verlangt ein Token, das dies erlaubt: Melden Sie sich an, und geben Sie es ein</translation>
        </message>
        <message>
            <source>the server failed (HTTP {code}); see its log</source>
            <translation>Der Server ist gescheitert (HTTP {code}); siehe sein Protokoll</translation>
        </message>
    </context>
    <context>
        <name>captioners.service</name>
        <message>
            <source>'{url}' is no server address: give one such as http://127.0.0.1:8765</source>
            <translation>„{url}“ ist keine Serveradresse: Geben Sie eine an wie http://127.0.0.1:8765</translation>
        </message>
        <message>
            <source>the certificate of {url} is not trusted: name its authority's file</source>
            <translation>Dem Zertifikat von {url} wird nicht vertraut: Geben Sie die Datei der Zertifizierungsstelle an</translation>
        </message>
        <message>
            <source>no answer from {url} ({kind}): is the captioning service started?</source>
            <translation>Keine Antwort von {url} ({kind}): Ist der Beschreibungsdienst gestartet?</translation>
        </message>
        <message>
            <source>{url} asks for a token that allows this: sign in and enter it</source>
            <translation>{url} verlangt ein Token, das dies erlaubt: Melden Sie sich an, und geben Sie es ein</translation>
        </message>
        <message>
            <source>the service failed (HTTP {code}); see its log</source>
            <translation>Der Dienst ist gescheitert (HTTP {code}); siehe sein Protokoll</translation>
        </message>
        <message>
            <source>{url} is not the captioning service: check the address</source>
            <translation>{url} ist nicht der Beschreibungsdienst: Prüfen Sie die Adresse</translation>
        </message>
    </context>
    <context>
        <name>captioners.training</name>
        <message>
            <source>preparing the training: {done} of {count}</source>
            <translation>Training wird vorbereitet: {done} von {count}</translation>
        </message>
        <message>
            <source>the server prepares the training</source>
            <translation>Der Server bereitet das Training vor</translation>
        </message>
        <message>
            <source>training: epoch {epoch} of {epochs}</source>
            <translation>Training: Epoche {epoch} von {epochs}</translation>
        </message>
        <message>
            <source>batch {batch} of {batches}</source>
            <translation>Stapel {batch} von {batches}</translation>
        </message>
    </context>
    <context>
        <name>images.segments</name>
        <message>
            <source>the segment {name} does not meet this slice: move the slice, or caption all of it</source>
            <translation>Das Segment {name} trifft diese Schicht nicht: Verschieben Sie die Schicht, oder beschreiben Sie sie ganz</translation>
        </message>
        <message>
            <source>the segment is gone: choose another, or none</source>
            <translation>Das Segment ist nicht mehr da: Wählen Sie ein anderes oder keines</translation>
        </message>
        <message>
            <source>the segment has no mask: edit or convert it in the Segmentations module first</source>
            <translation>Das Segment hat keine Maske: Bearbeiten oder konvertieren Sie es erst im Modul Segmentations</translation>
        </message>
        <message>
            <source>the segmentation is under a transform that bends it: harden the transform first</source>
            <translation>Die Segmentierung steht unter einer nichtlinearen Transformation: Wenden Sie diese erst fest an (Harden transform)</translation>
        </message>
    </context>
    <context>
        <name>images.slices</name>
        <message>
            <source>there is no volume to caption: choose one that has an image</source>
            <translation>Es gibt kein Volumen zu beschreiben: Wählen Sie eines mit Bild</translation>
        </message>
        <message>
            <source>the slice lies outside the volume: move the slider onto the image</source>
            <translation>Die Schicht liegt außerhalb des Volumens: Schieben Sie sie auf das Bild</translation>
        </message>
        <message>
            <source>the view cuts across a picture of one plane: turn it with 'Rotate to volume plane' in the view's bar</source>
            <translation>Die Ansicht schneidet quer durch ein Bild mit nur einer Ebene: Drehen Sie sie mit „Rotate to volume plane“ in der Leiste der Ansicht</translation>
        </message>
        <message>
            <source>the volume has {count} values a pixel, which is no picture: choose another one</source>
            <translation>Das Volumen hat {count} Werte je Pixel und ist damit kein Bild: Wählen Sie ein anderes</translation>
        </message>
        <message>
            <source>the volume is under a transform that bends it: harden the transform first</source>
            <translation>Das Volumen steht unter einer nichtlinearen Transformation: Wenden Sie diese erst fest an (Harden transform)</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.jobs</name>
        <message>
            <source>cancelled</source>
            <translation>abgebrochen</translation>
        </message>
        <message>
            <source>something unexpected failed ({kind}); the log has the details</source>
            <translation>Etwas Unerwartetes ist fehlgeschlagen ({kind}); Einzelheiten stehen im Protokoll</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.logic</name>
        <message>
            <source>corrections go to a MONAI Label server: choose one under 'Captioner'</source>
            <translation>Korrekturen gehen an einen MONAI-Label-Server: Wählen Sie einen unter „Beschreiber“</translation>
        </message>
        <message>
            <source>the caption is empty: write one before sending it</source>
            <translation>Die Beschreibung ist leer: Schreiben Sie eine, bevor Sie sie senden</translation>
        </message>
        <message>
            <source>{path} cannot be written ({reason})</source>
            <translation>{path} kann nicht geschrieben werden ({reason})</translation>
        </message>
        <message>
            <source>the volume was closed since it was captioned: copy the text, or load it again</source>
            <translation>Das Volumen wurde seit der Beschreibung geschlossen: Kopieren Sie den Text, oder laden Sie es neu</translation>
        </message>
        <message>
            <source>the model is not sure enough of this caption: edit it, or confirm that it is right</source>
            <translation>Das Modell ist sich dieser Beschreibung nicht sicher genug: Bearbeiten oder bestätigen Sie sie</translation>
        </message>
        <message>
            <source>the captioner's answer has no caption: is it the captioning bundle?</source>
            <translation>Die Antwort des Beschreibers enthält keine Beschreibung: Ist es das Beschreibungs-Bundle?</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.overlay</name>
        <message>
            <source>this caption has no explanation: caption again with 'Explain each word' on</source>
            <translation>Zu dieser Beschreibung gibt es keine Erklärung: Beschreiben Sie noch einmal, mit „Jedes Wort erklären“</translation>
        </message>
        <message>
            <source>the caption is of a picture of another size: caption the slice again</source>
            <translation>Die Beschreibung gehört zu einem Bild anderer Größe: Beschreiben Sie die Schicht noch einmal</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.rounds</name>
        <message>
            <source>captioning {name}</source>
            <translation>{name} wird beschrieben</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.scene</name>
        <message>
            <source>the caption is empty: write one, or do not save</source>
            <translation>Die Beschreibung ist leer: Schreiben Sie eine, oder speichern Sie nicht</translation>
        </message>
    </context>
    <context>
        <name>setup.bundle_source</name>
        <message>
            <source>{file} does not say which packages it needs</source>
            <translation>{file} sagt nicht, welche Pakete gebraucht werden</translation>
        </message>
        <message>
            <source>name the bundle first: its zip file, its folder or its address</source>
            <translation>Geben Sie erst das Bundle an: Zip-Datei, Ordner oder Adresse</translation>
        </message>
        <message>
            <source>{bundle} is not the captioning bundle: choose the folder with configs and scripts</source>
            <translation>{bundle} ist nicht das Beschreibungs-Bundle: Wählen Sie den Ordner mit configs und scripts</translation>
        </message>
        <message>
            <source>{path} does not exist: choose the bundle's zip file or folder</source>
            <translation>{path} gibt es nicht: Wählen Sie Zip-Datei oder Ordner des Bundles</translation>
        </message>
        <message>
            <source>{url} is not fetched: the address of a bundle begins with https://</source>
            <translation>{url} wird nicht geholt: Die Adresse eines Bundles beginnt mit https://</translation>
        </message>
        <message>
            <source>fetching the bundle: {done} MB</source>
            <translation>Bundle wird geholt: {done} MB</translation>
        </message>
        <message>
            <source>{url} cannot be fetched ({reason})</source>
            <translation>{url} kann nicht geholt werden ({reason})</translation>
        </message>
        <message>
            <source>{url} broke off at {done} of {size} bytes: try again</source>
            <translation>{url} brach nach {done} von {size} Bytes ab: Versuchen Sie es noch einmal</translation>
        </message>
        <message>
            <source>{url} has another SHA-256 than the one behind it: not used</source>
            <translation>{url} hat eine andere SHA-256-Summe als die angegebene: nicht verwendet</translation>
        </message>
        <message>
            <source>unpacking the bundle</source>
            <translation>Bundle wird entpackt</translation>
        </message>
        <message>
            <source>{name} does not hold the captioning bundle</source>
            <translation>{name} enthält das Beschreibungs-Bundle nicht</translation>
        </message>
        <message>
            <source>{name} is not a whole zip file</source>
            <translation>{name} ist keine vollständige Zip-Datei</translation>
        </message>
        <message>
            <source>{folder} cannot be written ({reason})</source>
            <translation>In {folder} kann nicht geschrieben werden ({reason})</translation>
        </message>
        <message>
            <source>{name} is larger than any bundle: not unpacked</source>
            <translation>{name} ist größer als jedes Bundle: nicht entpackt</translation>
        </message>
        <message>
            <source>{name} holds {member}, which leads out of it: not unpacked</source>
            <translation>{name} enthält {member}, das aus dem Ordner hinausführt: nicht entpackt</translation>
        </message>
    </context>
    <context>
        <name>setup.installation</name>
        <message>
            <source>the set-up was not finished</source>
            <translation>Die Einrichtung wurde nicht beendet</translation>
        </message>
        <message>
            <source>nothing is set up yet</source>
            <translation>Noch ist nichts eingerichtet</translation>
        </message>
        <message>
            <source>{python} is gone</source>
            <translation>{python} ist nicht mehr da</translation>
        </message>
        <message>
            <source>the bundle in {folder} is gone</source>
            <translation>Das Bundle in {folder} ist nicht mehr da</translation>
        </message>
        <message>
            <source>the package {name} is missing or broken</source>
            <translation>Das Paket {name} fehlt oder ist beschädigt</translation>
        </message>
        <message>
            <source>looking for a Python</source>
            <translation>Ein Python wird gesucht</translation>
        </message>
        <message>
            <source>fetching the bundle</source>
            <translation>Bundle wird geholt</translation>
        </message>
        <message>
            <source>installing the packages</source>
            <translation>Pakete werden installiert</translation>
        </message>
        <message>
            <source>fetching the weights and loading the network</source>
            <translation>Gewichte werden geholt, das Netz wird geladen</translation>
        </message>
        <message>
            <source>ready</source>
            <translation>bereit</translation>
        </message>
        <message>
            <source>{folder} could not be removed: restart Slicer and remove again</source>
            <translation>{folder} ließ sich nicht löschen: Starten Sie Slicer neu, und entfernen Sie es noch einmal</translation>
        </message>
        <message>
            <source>the captioner is not set up on this computer: press 'Set up'</source>
            <translation>Der Beschreiber ist auf diesem Rechner nicht eingerichtet: Drücken Sie „Einrichten“</translation>
        </message>
        <message>
            <source>{folder} cannot be written ({reason})</source>
            <translation>In {folder} kann nicht geschrieben werden ({reason})</translation>
        </message>
        <message>
            <source>{folder} has {free:.1f} GB left and {least:.0f} GB are needed: make room first</source>
            <translation>In {folder} sind {free:.1f} GB frei, gebraucht werden {least:.0f} GB: Schaffen Sie erst Platz</translation>
        </message>
    </context>
    <context>
        <name>setup.packages</name>
        <message>
            <source>{folder} is no folder of wheels</source>
            <translation>{folder} ist kein Ordner mit Wheels</translation>
        </message>
        <message>
            <source>package {name}</source>
            <translation>Paket {name}</translation>
        </message>
        <message>
            <source>unpacking the packages</source>
            <translation>Pakete werden entpackt</translation>
        </message>
        <message>
            <source>pip ended with {code}</source>
            <translation>pip endete mit {code}</translation>
        </message>
        <message>
            <source>the packages could not be installed: {reason}</source>
            <translation>Die Pakete konnten nicht installiert werden: {reason}</translation>
        </message>
    </context>
    <context>
        <name>setup.pythons</name>
        <message>
            <source>{python} is Python {found}, and {least} or later is needed</source>
            <translation>{python} ist Python {found}; gebraucht wird {least} oder neuer</translation>
        </message>
        <message>
            <source>{python} has no pip</source>
            <translation>{python} hat kein pip</translation>
        </message>
        <message>
            <source>{python} is a 32-bit program</source>
            <translation>{python} ist ein 32-Bit-Programm</translation>
        </message>
        <message>
            <source>{python} is no Python that can be started</source>
            <translation>{python} ist kein Python, das sich starten lässt</translation>
        </message>
        <message>
            <source>{fault}: choose another Python</source>
            <translation>{fault}: Wählen Sie ein anderes Python</translation>
        </message>
        <message>
            <source>no Python was found</source>
            <translation>Es wurde kein Python gefunden</translation>
        </message>
        <message>
            <source>{reason}: install Python {least} and name it under 'Python', or use Slicer 5.10 or later</source>
            <translation>{reason}: Installieren Sie Python {least}, und geben Sie es unter „Python“ an, oder verwenden Sie Slicer 5.10 oder neuer</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.sources</name>
        <message>
            <source>a report needs the DICOM files that the volume came from: load it with the DICOM module</source>
            <translation>Ein Bericht braucht die DICOM-Dateien des Volumens: Laden Sie es mit dem Modul DICOM</translation>
        </message>
        <message>
            <source>the volume's files hold other images than it was loaded from: load it again</source>
            <translation>Die Dateien des Volumens enthalten andere Bilder als beim Laden: Laden Sie es neu</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.caption_box</name>
        <message>
            <source>whole caption</source>
            <translation>ganze Beschreibung</translation>
        </message>
        <message>
            <source>{percent} % likely right</source>
            <translation>mit {percent} % Wahrscheinlichkeit richtig</translation>
        </message>
        <message>
            <source>not stated</source>
            <translation>nicht genannt</translation>
        </message>
        <message>
            <source>Similar training cases (distance):</source>
            <translation>Ähnliche Trainingsfälle (Abstand):</translation>
        </message>
        <message>
            <source>stated in the caption</source>
            <translation>in der Beschreibung genannt</translation>
        </message>
        <message>
            <source>considered, not stated</source>
            <translation>erwogen, nicht genannt</translation>
        </message>
        <message>
            <source>Withheld: the captioner is not sure enough of this caption. Edit it, or confirm it when you pass it on.</source>
            <translation>Zurückgehalten: Der Beschreiber ist sich nicht sicher genug. Bearbeiten Sie den Text, oder bestätigen Sie ihn beim Weitergeben.</translation>
        </message>
        <message>
            <source>{slice} of {volume}</source>
            <translation>{slice} von {volume}</translation>
        </message>
        <message>
            <source>frame {number}</source>
            <translation>Einzelbild {number}</translation>
        </message>
        <message>
            <source>only inside {segment}</source>
            <translation>nur innerhalb von {segment}</translation>
        </message>
        <message>
            <source>chosen by the captioner</source>
            <translation>vom Beschreiber gewählt</translation>
        </message>
        <message>
            <source>as shown</source>
            <translation>wie gezeigt</translation>
        </message>
        <message>
            <source>window {window} {by}</source>
            <translation>Fenster {window} {by}</translation>
        </message>
        <message>
            <source>model {version}</source>
            <translation>Modell {version}</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.captioner_box</name>
        <message>
            <source>A captioner runs on this computer already: choose '{name}' under 'Captions by' ({url}).</source>
            <translation>Auf diesem Rechner läuft schon ein Beschreiber: Wählen Sie „{name}“ unter „Beschreibt“ ({url}).</translation>
        </message>
        <message>
            <source>Setting up ...</source>
            <translation>Wird eingerichtet ...</translation>
        </message>
        <message>
            <source>Repairing ...</source>
            <translation>Wird repariert ...</translation>
        </message>
        <message>
            <source>Delete {folder} with all that was set up? Captions in the scene stay.</source>
            <translation>{folder} mit allem Eingerichteten löschen? Beschreibungen in der Szene bleiben.</translation>
        </message>
        <message>
            <source>Removing ...</source>
            <translation>Wird entfernt ...</translation>
        </message>
        <message>
            <source>Removed.</source>
            <translation>Entfernt.</translation>
        </message>
        <message>
            <source>{url} answers: model {version}.</source>
            <translation>{url} antwortet: Modell {version}.</translation>
        </message>
        <message>
            <source>Connecting ...</source>
            <translation>Verbindung ...</translation>
        </message>
        <message>
            <source>Ready: model {version}.</source>
            <translation>Bereit: Modell {version}.</translation>
        </message>
        <message>
            <source>model {version}</source>
            <translation>Modell {version}</translation>
        </message>
        <message>
            <source>Pictures of the slices that you caption are sent to this address.</source>
            <translation>Bilder der beschriebenen Schichten werden an diese Adresse gesendet.</translation>
        </message>
        <message>
            <source>Set up in {folder}; nothing leaves this computer.</source>
            <translation>Eingerichtet in {folder}; nichts verlässt diesen Rechner.</translation>
        </message>
        <message>
            <source>Press 'Repair'.</source>
            <translation>Drücken Sie „Reparieren“.</translation>
        </message>
        <message>
            <source>The captioning bundle</source>
            <translation>Das Beschreibungs-Bundle</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.history_box</name>
        <message>
            <source>Slice</source>
            <translation>Schicht</translation>
        </message>
        <message>
            <source>Caption</source>
            <translation>Beschreibung</translation>
        </message>
        <message>
            <source>State</source>
            <translation>Stand</translation>
        </message>
        <message>
            <source>frame {number}</source>
            <translation>Einzelbild {number}</translation>
        </message>
        <message>
            <source>draft, edited</source>
            <translation>Entwurf, bearbeitet</translation>
        </message>
        <message>
            <source>draft</source>
            <translation>Entwurf</translation>
        </message>
        <message>
            <source>corrected</source>
            <translation>korrigiert</translation>
        </message>
        <message>
            <source>accepted</source>
            <translation>angenommen</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.panel</name>
        <message>
            <source>Text file ...</source>
            <translation>Textdatei ...</translation>
        </message>
        <message>
            <source>DICOM SR ...</source>
            <translation>DICOM SR ...</translation>
        </message>
        <message>
            <source>FHIR ...</source>
            <translation>FHIR ...</translation>
        </message>
        <message>
            <source>Captioning; the first caption also loads the network ...</source>
            <translation>Wird beschrieben; beim ersten Mal wird auch das Netz geladen ...</translation>
        </message>
        <message>
            <source>there is no volume in the scene: load one first</source>
            <translation>In der Szene ist kein Volumen: Laden Sie erst eines</translation>
        </message>
        <message>
            <source>Captioning all volumes ...</source>
            <translation>Alle Volumen werden beschrieben ...</translation>
        </message>
        <message>
            <source>no draft waits: caption a slice, or all loaded volumes, first</source>
            <translation>Kein Entwurf wartet: Beschreiben Sie erst eine Schicht oder alle geladenen Volumen</translation>
        </message>
        <message>
            <source>Asking the server for the next image ...</source>
            <translation>Der Server wird nach dem nächsten Bild gefragt ...</translation>
        </message>
        <message>
            <source>the volume was closed while it was captioned: the caption was dropped</source>
            <translation>Das Volumen wurde während der Beschreibung geschlossen: Sie wurde verworfen</translation>
        </message>
        <message>
            <source>Read it, correct it, accept it.</source>
            <translation>Lesen, korrigieren, annehmen.</translation>
        </message>
        <message>
            <source>{count} volumes have a draft now.</source>
            <translation>{count} Volumen haben jetzt einen Entwurf.</translation>
        </message>
        <message>
            <source>More in the log.</source>
            <translation>Mehr im Protokoll.</translation>
        </message>
        <message>
            <source>Every image has a reviewed caption.</source>
            <translation>Jedes Bild hat eine geprüfte Beschreibung.</translation>
        </message>
        <message>
            <source>{name} is loaded: find the slice and caption it.</source>
            <translation>{name} ist geladen: Suchen Sie die Schicht und beschreiben Sie sie.</translation>
        </message>
        <message>
            <source>Accepted and kept in the scene as '{name}'.</source>
            <translation>Angenommen und in der Szene gespeichert als „{name}“.</translation>
        </message>
        <message>
            <source>Copied.</source>
            <translation>Kopiert.</translation>
        </message>
        <message>
            <source>Sent; the server keeps it with '{image}'.</source>
            <translation>Gesendet; der Server bewahrt sie bei „{image}“ auf.</translation>
        </message>
        <message>
            <source>Sending ...</source>
            <translation>Wird gesendet ...</translation>
        </message>
        <message>
            <source>Caption as text</source>
            <translation>Beschreibung als Text</translation>
        </message>
        <message>
            <source>Caption as DICOM SR</source>
            <translation>Beschreibung als DICOM SR</translation>
        </message>
        <message>
            <source>Caption as FHIR DiagnosticReport</source>
            <translation>Beschreibung als FHIR DiagnosticReport</translation>
        </message>
        <message>
            <source>Written: {path}.</source>
            <translation>Geschrieben: {path}.</translation>
        </message>
        <message>
            <source>Written: {path} (preliminary, unverified).</source>
            <translation>Geschrieben: {path} (vorläufig, ungeprüft).</translation>
        </message>
        <message>
            <source>Writing the report ...</source>
            <translation>Der Bericht wird geschrieben ...</translation>
        </message>
        <message>
            <source>a MONAI Label server learns: choose one under 'Captioner'</source>
            <translation>Lernen kann ein MONAI-Label-Server: Wählen Sie einen unter „Beschreiber“</translation>
        </message>
        <message>
            <source>Training ...</source>
            <translation>Training ...</translation>
        </message>
        <message>
            <source>Version {version} is active, trained on {count} captions.</source>
            <translation>Version {version} ist aktiv, trainiert mit {count} Beschreibungen.</translation>
        </message>
        <message>
            <source>Validation loss: {losses}.</source>
            <translation>Validierungsverlust: {losses}.</translation>
        </message>
        <message>
            <source>The scene was closed; the text that you changed is still here to copy.</source>
            <translation>Die Szene wurde geschlossen; Ihr geänderter Text ist hier noch zu kopieren.</translation>
        </message>
        <message>
            <source>Captioner: {name}</source>
            <translation>Beschreiber: {name}</translation>
        </message>
        <message>
            <source>the volume of this caption is gone</source>
            <translation>Das Volumen dieser Beschreibung ist nicht mehr da</translation>
        </message>
        <message>
            <source>there is no caption yet: caption a slice first</source>
            <translation>Es gibt noch keine Beschreibung: Beschreiben Sie erst eine Schicht</translation>
        </message>
        <message>
            <source>Is it right as it stands?</source>
            <translation>Ist sie so richtig?</translation>
        </message>
        <message>
            <source>across the volume's slices</source>
            <translation>quer zu den Schichten</translation>
        </message>
        <message>
            <source>{plane} slice {number}</source>
            <translation>{plane}, Schicht {number}</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.parameters</name>
        <message>
            <source>As shown in the view</source>
            <translation>Wie in der Ansicht</translation>
        </message>
        <message>
            <source>The captioner's choice</source>
            <translation>Wahl des Beschreibers</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.planes</name>
        <message>
            <source>axial</source>
            <translation>axial</translation>
        </message>
        <message>
            <source>coronal</source>
            <translation>koronar</translation>
        </message>
        <message>
            <source>sagittal</source>
            <translation>sagittal</translation>
        </message>
        <message>
            <source>oblique</source>
            <translation>schräg</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.tasks</name>
        <message>
            <source>{text} Wait for it, or cancel it first.</source>
            <translation>{text} Warten Sie, oder brechen Sie erst ab.</translation>
        </message>
        <message>
            <source>Cancelled.</source>
            <translation>Abgebrochen.</translation>
        </message>
        <message>
            <source>Cancelling ...</source>
            <translation>Wird abgebrochen ...</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.word_view</name>
        <message>
            <source>This word names nothing visible: it has no map and no region.</source>
            <translation>Dieses Wort benennt nichts Sichtbares: Es hat weder Karte noch Bereich.</translation>
        </message>
        <message>
            <source>Drawing the region ...</source>
            <translation>Der Bereich wird gezeichnet ...</translation>
        </message>
        <message>
            <source>Region: drawn by SAM's mask decoder around the peak of the word's map.</source>
            <translation>Bereich: vom Maskendecoder des SAM um das Maximum der Karte des Wortes gezeichnet.</translation>
        </message>
        <message>
            <source>Region: the part of the map around its peak; nothing was outlined in the image.</source>
            <translation>Bereich: der Teil der Karte um ihr Maximum; im Bild selbst wurde nichts umrissen.</translation>
        </message>
    </context>
    <context>
        <name>Caption</name>
        <message>
            <source>The caption; change what is wrong (Ctrl+Shift+E)</source>
            <translation>Die Beschreibung; ändern Sie, was falsch ist (Strg+Umschalt+E)</translation>
        </message>
        <message>
            <source>The caption appears here, for you to read and correct.</source>
            <translation>Hier erscheint die Beschreibung, zum Lesen und Korrigieren.</translation>
        </message>
        <message>
            <source>How likely the caption is right, measured on images whose captions are known</source>
            <translation>Wie wahrscheinlich die Beschreibung stimmt, gemessen an Bildern mit bekannten Beschreibungen</translation>
        </message>
        <message>
            <source>Plane, kind and organ:</source>
            <translation>Ebene, Bildart und Organ:</translation>
        </message>
        <message>
            <source>-</source>
            <translation>-</translation>
        </message>
        <message>
            <source>Finding:</source>
            <translation>Befund:</translation>
        </message>
        <message>
            <source>Findings considered; click one to put it into the caption:</source>
            <translation>Erwogene Befunde; ein Klick setzt einen in die Beschreibung ein:</translation>
        </message>
        <message>
            <source>What each word rests on:</source>
            <translation>Worauf jedes Wort beruht:</translation>
        </message>
        <message>
            <source>A map shades where a word rests; a region outlines the place around its peak</source>
            <translation>Eine Karte schattiert, worauf ein Wort beruht; ein Bereich umreißt die Stelle um ihr Maximum</translation>
        </message>
        <message>
            <source>as a map</source>
            <translation>als Karte</translation>
        </message>
        <message>
            <source>as a region</source>
            <translation>als Bereich</translation>
        </message>
        <message>
            <source>Accept</source>
            <translation>Annehmen</translation>
        </message>
        <message>
            <source>Keep the caption in the scene as one that you read (Ctrl+Return)</source>
            <translation>Bewahrt die Beschreibung als gelesen in der Szene auf (Strg+Eingabe)</translation>
        </message>
        <message>
            <source>Send back</source>
            <translation>Zurücksenden</translation>
        </message>
        <message>
            <source>Send the caption to MONAI Label, which learns from it</source>
            <translation>Sendet die Beschreibung an MONAI Label, das daraus lernt</translation>
        </message>
        <message>
            <source>Copy</source>
            <translation>Kopieren</translation>
        </message>
        <message>
            <source>Copy the caption to the clipboard</source>
            <translation>Kopiert die Beschreibung in die Zwischenablage</translation>
        </message>
        <message>
            <source>Export</source>
            <translation>Exportieren</translation>
        </message>
        <message>
            <source>Write the caption as a file</source>
            <translation>Schreibt die Beschreibung als Datei</translation>
        </message>
    </context>
    <context>
        <name>Captioner</name>
        <message>
            <source>Captions by:</source>
            <translation>Beschreibt:</translation>
        </message>
        <message>
            <source>Who captions</source>
            <translation>Wer beschreibt</translation>
        </message>
        <message>
            <source>This computer</source>
            <translation>Dieser Rechner</translation>
        </message>
        <message>
            <source>MONAI Label server</source>
            <translation>MONAI-Label-Server</translation>
        </message>
        <message>
            <source>Captioning service</source>
            <translation>Beschreibungsdienst</translation>
        </message>
        <message>
            <source>Bundle:</source>
            <translation>Bundle:</translation>
        </message>
        <message>
            <source>zip file, folder or https:// address</source>
            <translation>Zip-Datei, Ordner oder https://-Adresse</translation>
        </message>
        <message>
            <source>Where the captioning bundle comes from</source>
            <translation>Woher das Beschreibungs-Bundle kommt</translation>
        </message>
        <message>
            <source>Zip...</source>
            <translation>Zip...</translation>
        </message>
        <message>
            <source>Choose the bundle's zip file</source>
            <translation>Zip-Datei des Bundles wählen</translation>
        </message>
        <message>
            <source>Folder...</source>
            <translation>Ordner...</translation>
        </message>
        <message>
            <source>Choose an unpacked bundle</source>
            <translation>Ein entpacktes Bundle wählen</translation>
        </message>
        <message>
            <source>Set-up options</source>
            <translation>Einrichtungsoptionen</translation>
        </message>
        <message>
            <source>Wheels:</source>
            <translation>Wheels:</translation>
        </message>
        <message>
            <source>A folder of wheels, for a computer without the internet; nothing is fetched then</source>
            <translation>Ein Ordner mit Wheels, für Rechner ohne Internet; dann wird nichts geholt</translation>
        </message>
        <message>
            <source>Python:</source>
            <translation>Python:</translation>
        </message>
        <message>
            <source>Which Python runs the captioner; empty for Slicer's own or the first that is new enough</source>
            <translation>Welches Python den Beschreiber ausführt; leer für das von Slicer oder das erste, das neu genug ist</translation>
        </message>
        <message>
            <source>PyTorch without CUDA (a much smaller download)</source>
            <translation>PyTorch ohne CUDA (viel kleiner)</translation>
        </message>
        <message>
            <source>Set up</source>
            <translation>Einrichten</translation>
        </message>
        <message>
            <source>Fetch what the captioner needs into a folder of its own; Slicer's Python stays as it is</source>
            <translation>Holt das Nötige in einen eigenen Ordner; Slicers Python bleibt, wie es ist</translation>
        </message>
        <message>
            <source>Repair</source>
            <translation>Reparieren</translation>
        </message>
        <message>
            <source>Fetch again what is missing or broken</source>
            <translation>Holt neu, was fehlt oder kaputt ist</translation>
        </message>
        <message>
            <source>Remove</source>
            <translation>Entfernen</translation>
        </message>
        <message>
            <source>Delete all that was set up</source>
            <translation>Löscht alles Eingerichtete</translation>
        </message>
        <message>
            <source>Address:</source>
            <translation>Adresse:</translation>
        </message>
        <message>
            <source>Address of a MONAI Label server that runs the captioning app</source>
            <translation>Adresse eines MONAI-Label-Servers mit der Beschreibungs-App</translation>
        </message>
        <message>
            <source>Address of the bundle's own HTTP service</source>
            <translation>Adresse des HTTP-Dienstes des Bundles</translation>
        </message>
        <message>
            <source>Token:</source>
            <translation>Token:</translation>
        </message>
        <message>
            <source>Where the server asks for one; it is not kept</source>
            <translation>Wo der Server eines verlangt; es wird nicht aufbewahrt</translation>
        </message>
        <message>
            <source>where the server asks for one</source>
            <translation>wo der Server eines verlangt</translation>
        </message>
        <message>
            <source>Authority:</source>
            <translation>Zertifizierungsstelle:</translation>
        </message>
        <message>
            <source>File of the authority that signed the server's certificate, where the system does not know it</source>
            <translation>Datei der Zertifizierungsstelle, die das Zertifikat des Servers signiert hat, wenn das System sie nicht kennt</translation>
        </message>
        <message>
            <source>Connect</source>
            <translation>Verbinden</translation>
        </message>
        <message>
            <source>See whether the server answers</source>
            <translation>Prüft, ob der Server antwortet</translation>
        </message>
        <message>
            <source>Log</source>
            <translation>Protokoll</translation>
        </message>
    </context>
</TS>
