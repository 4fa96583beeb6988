<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="fr_FR" sourcelanguage="en_US">
    <context>
        <name>ImageCaptioning</name>
        <message>
            <source>Image Captioning</source>
            <translation>Description d'images</translation>
        </message>
        <message>
            <source>Describes the slice of a view in words: a draft by a machine, for research, not for diagnosis.</source>
            <translation>Décrit en mots la coupe d'une vue : une ébauche faite par une machine, pour la recherche, pas pour le diagnostic.</translation>
        </message>
        <message>
            <source>See the &lt;a href="{url}"&gt;documentation&lt;/a&gt;.</source>
            <translation>Voir la &lt;a href="{url}"&gt;documentation&lt;/a&gt;.</translation>
        </message>
        <message>
            <source>The method is MSMedCap: Zhang et al., ICASSP 2024, {link}.</source>
            <translation>La méthode est MSMedCap : Zhang et al., ICASSP 2024, {link}.</translation>
        </message>
        <message>
            <source>Draft by a machine. For research, not for diagnosis.</source>
            <translation>Ébauche d'une machine. Pour la recherche, pas pour le diagnostic.</translation>
        </message>
        <message>
            <source>Captioner</source>
            <translation>Descripteur</translation>
        </message>
        <message>
            <source>Image</source>
            <translation>Image</translation>
        </message>
        <message>
            <source>Volume:</source>
            <translation>Volume :</translation>
        </message>
        <message>
            <source>The volume, picture or sequence that is captioned</source>
            <translation>Le volume, l'image ou la séquence à décrire</translation>
        </message>
        <message>
            <source>View:</source>
            <translation>Vue :</translation>
        </message>
        <message>
            <source>The slice view whose slice is captioned</source>
            <translation>La vue dont la coupe est décrite</translation>
        </message>
        <message>
            <source>Window:</source>
            <translation>Fenêtre :</translation>
        </message>
        <message>
            <source>Whose brightness and contrast the captioner sees</source>
            <translation>De qui viennent la luminosité et le contraste que voit le descripteur</translation>
        </message>
        <message>
            <source>As shown in the view</source>
            <translation>Comme dans la vue</translation>
        </message>
        <message>
            <source>The captioner's choice</source>
            <translation>Choix du descripteur</translation>
        </message>
        <message>
            <source>Options</source>
            <translation>Options</translation>
        </message>
        <message>
            <source>Only inside:</source>
            <translation>Seulement dans :</translation>
        </message>
        <message>
            <source>All outside this segment is darkened before the slice is captioned</source>
            <translation>Tout ce qui est hors de ce segment est assombri avant la description</translation>
        </message>
        <message>
            <source>Begin with:</source>
            <translation>Commencer par :</translation>
        </message>
        <message>
            <source>First words of the caption; the captioner goes on from there</source>
            <translation>Premiers mots de la description ; le descripteur continue à partir de là</translation>
        </message>
        <message>
            <source>first words of the caption, or nothing</source>
            <translation>premiers mots de la description, ou rien</translation>
        </message>
        <message>
            <source>Beams:</source>
            <translation>Variantes :</translation>
        </message>
        <message>
            <source>Captions that are weighed against one another: more take longer</source>
            <translation>Descriptions comparées entre elles : plus il y en a, plus c'est long</translation>
        </message>
        <message>
            <source>Explain each word</source>
            <translation>Expliquer chaque mot</translation>
        </message>
        <message>
            <source>Find out which places each word rests on; takes about as long as the caption</source>
            <translation>Cherche sur quels endroits repose chaque mot ; prend à peu près autant de temps que la description</translation>
        </message>
        <message>
            <source>Caption this slice</source>
            <translation>Décrire cette coupe</translation>
        </message>
        <message>
            <source>Caption what the view shows (Ctrl+Shift+C)</source>
            <translation>Décrit ce que montre la vue (Ctrl+Maj+C)</translation>
        </message>
        <message>
            <source>Cancel</source>
            <translation>Annuler</translation>
        </message>
        <message>
            <source>Stop what is under way</source>
            <translation>Arrête ce qui est en cours</translation>
        </message>
        <message>
            <source>Next least certain</source>
            <translation>Prochaine incertaine</translation>
        </message>
        <message>
            <source>Go on with the caption that is least certain: of the server, or among the drafts here (Ctrl+Shift+N)</source>
            <translation>Passe à la description la moins sûre : du serveur, ou parmi les ébauches d'ici (Ctrl+Maj+N)</translation>
        </message>
        <message>
            <source>All loaded volumes</source>
            <translation>Tous les volumes chargés</translation>
        </message>
        <message>
            <source>Draft a caption for the middle slice of every loaded volume</source>
            <translation>Ébauche une description de la coupe du milieu de chaque volume chargé</translation>
        </message>
        <message>
            <source>Caption</source>
            <translation>Description</translation>
        </message>
        <message>
            <source>Captions of this volume</source>
            <translation>Descriptions de ce volume</translation>
        </message>
        <message>
            <source>Double-click a caption to see its slice and to edit it</source>
            <translation>Un double-clic montre la coupe d'une description et permet de la modifier</translation>
        </message>
        <message>
            <source>Learning</source>
            <translation>Apprentissage</translation>
        </message>
        <message>
            <source>The MONAI Label server learns from the captions that were sent back.</source>
            <translation>Le serveur MONAI Label apprend à partir des descriptions qui lui ont été renvoyées.</translation>
        </message>
        <message>
            <source>Train on the corrected captions</source>
            <translation>Entraîner sur les descriptions corrigées</translation>
        </message>
        <message>
            <source>Fine-tune on the captions that people reviewed; takes minutes to hours</source>
            <translation>Affine le modèle sur les descriptions vérifiées ; prend de quelques minutes à quelques heures</translation>
        </message>
    </context>
    <context>
        <name>captioners.local</name>
        <message>
            <source>the captioning process ended: {reason}</source>
            <translation>le processus de description s'est arrêté : {reason}</translation>
        </message>
        <message>
            <source>{bundle} is not the captioning bundle: choose the folder with configs and scripts</source>
            <translation>{bundle} n'est pas le bundle de description : choisissez le dossier qui contient configs et scripts</translation>
        </message>
        <message>
            <source>{python} cannot be started: choose the Python of the bundle</source>
            <translation>{python} ne peut pas être lancé : choisissez le Python du bundle</translation>
        </message>
        <message>
            <source>it said nothing</source>
            <translation>il n'a rien dit</translation>
        </message>
    </context>
    <context>
        <name>captioners.server</name>
        <message>
            <source>'{url}' is no server address: give one such as http://127.0.0.1:8000</source>
            <translation>« {url} » n'est pas une adresse de serveur : donnez-en une comme http://127.0.0.1:8000</translation>
        </message>
        <message>
            <source>{url} runs another MONAI Label app: start this one with 'make label'</source>
            <translation>{url} fait tourner une autre application MONAI Label : lancez celle-ci avec « make label »</translation>
        </message>
        <message>
            <source>the training was stopped on the server</source>
            <translation>l'entraînement a été arrêté sur le serveur</translation>
        </message>
        <message>
            <source>the training failed: {reason}</source>
            <translation>l'entraînement a échoué : {reason}</translation>
        </message>
        <message>
            <source>{url} does not answer as MONAI Label does: check the address</source>
            <translation>{url} ne répond pas comme MONAI Label : vérifiez l'adresse</translation>
        </message>
        <message>
            <source>the certificate of {url} is not trusted: name its authority's file</source>
            <translation>le certificat de {url} n'est pas reconnu : indiquez le fichier de son autorité</translation>
        </message>
        <message>
            <source>no answer from {url} ({kind}): is MONAI Label started?</source>
            <translation>pas de réponse de {url} ({kind}) : MONAI Label est-il lancé ?</translation>
        </message>
        <message>
            <source>{url} asks for a token that allows this: sign in and enter it</source>
            <translation>{url} demande un jeton qui autorise cela : connectez-vous et saisissez-le</translation>
        </message>
        <message>
            <source>the server failed (HTTP {code}); see its log</source>
            <translation>le serveur a échoué (HTTP {code}) ; voyez son journal</translation>
        </message>
    </context>
    <context>
        <name>captioners.service</name>
        <message>
            <source>'{url}' is no server address: give one such as http://127.0.0.1:8765</source>
            <translation>« {url} » n'est pas une adresse de serveur : donnez-en une comme http://127.0.0.1:8765</translation>
        </message>
        <message>
            <source>the certificate of {url} is not trusted: name its authority's file</source>
            <translation>le certificat de {url} n'est pas reconnu : indiquez le fichier de son autorité</translation>
        </message>
        <message>
            <source>no answer from {url} ({kind}): is the captioning service started?</source>
            <translation>pas de réponse de {url} ({kind}) : le service de description est-il lancé ?</translation>
        </message>
        <message>
            <source>{url} asks for a token that allows this: sign in and enter it</source>
            <translation>{url} demande un jeton qui autorise cela : connectez-vous et saisissez-le</translation>
        </message>
        <message>
            <source>the service failed (HTTP {code}); see its log</source>
            <translation>le service a échoué (HTTP {code}) ; voyez son journal</translation>
        </message>
        <message>
            <source>{url} is not the captioning service: check the address</source>
            <translation>{url} n'est pas le service de description : vérifiez l'adresse</translation>
        </message>
    </context>
    <context>
        <name>captioners.training</name>
        <message>
            <source>preparing the training: {done} of {count}</source>
            <translation>préparation de l'entraînement : {done} sur {count}</translation>
        </message>
        <message>
            <source>the server prepares the training</source>
            <translation>le serveur prépare l'entraînement</translation>
        </message>
        <message>
            <source>training: epoch {epoch} of {epochs}</source>
            <translation>entraînement : époque {epoch} sur {epochs}</translation>
        </message>
        <message>
            <source>batch {batch} of {batches}</source>
            <translation>lot {batch} sur {batches}</translation>
        </message>
    </context>
    <context>
        <name>images.segments</name>
        <message>
            <source>the segment {name} does not meet this slice: move the slice, or caption all of it</source>
            <translation>le segment {name} ne rencontre pas cette coupe : déplacez la coupe, ou décrivez-la tout entière</translation>
        </message>
        <message>
            <source>the segment is gone: choose another, or none</source>
            <translation>le segment n'existe plus : choisissez-en un autre, ou aucun</translation>
        </message>
        <message>
            <source>the segment has no mask: edit or convert it in the Segmentations module first</source>
            <translation>le segment n'a pas de masque : modifiez-le ou convertissez-le d'abord dans le module Segmentations</translation>
        </message>
        <message>
            <source>the segmentation is under a transform that bends it: harden the transform first</source>
            <translation>la segmentation est soumise à une transformation non linéaire : appliquez-la d'abord définitivement (Harden transform)</translation>
        </message>
    </context>
    <context>
        <name>images.slices</name>
        <message>
            <source>there is no volume to caption: choose one that has an image</source>
            <translation>il n'y a pas de volume à décrire : choisissez-en un qui a une image</translation>
        </message>
        <message>
            <source>the slice lies outside the volume: move the slider onto the image</source>
            <translation>la coupe est hors du volume : déplacez-la sur l'image</translation>
        </message>
        <message>
            <source>the view cuts across a picture of one plane: turn it with 'Rotate to volume plane' in the view's bar</source>
            <translation>la vue coupe en travers une image d'un seul plan : tournez-la avec « Rotate to volume plane » dans la barre de la vue</translation>
        </message>
        <message>
            <source>the volume has {count} values a pixel, which is no picture: choose another one</source>
            <translation>le volume a {count} valeurs par pixel, ce n'est pas une image : choisissez-en un autre</translation>
        </message>
        <message>
            <source>the volume is under a transform that bends it: harden the transform first</source>
            <translation>le volume est soumis à une transformation non linéaire : appliquez-la d'abord définitivement (Harden transform)</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.jobs</name>
        <message>
            <source>cancelled</source>
            <translation>annulé</translation>
        </message>
        <message>
            <source>something unexpected failed ({kind}); the log has the details</source>
            <translation>une erreur inattendue s'est produite ({kind}) ; les détails sont dans le journal</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.logic</name>
        <message>
            <source>corrections go to a MONAI Label server: choose one under 'Captioner'</source>
            <translation>les corrections vont à un serveur MONAI Label : choisissez-en un sous « Descripteur »</translation>
        </message>
        <message>
            <source>the caption is empty: write one before sending it</source>
            <translation>la description est vide : écrivez-en une avant de l'envoyer</translation>
        </message>
        <message>
            <source>{path} cannot be written ({reason})</source>
            <translation>{path} ne peut pas être écrit ({reason})</translation>
        </message>
        <message>
            <source>the volume was closed since it was captioned: copy the text, or load it again</source>
            <translation>le volume a été fermé depuis sa description : copiez le texte, ou rechargez-le</translation>
        </message>
        <message>
            <source>the model is not sure enough of this caption: edit it, or confirm that it is right</source>
            <translation>le modèle n'est pas assez sûr de cette description : modifiez-la ou confirmez-la</translation>
        </message>
        <message>
            <source>the captioner's answer has no caption: is it the captioning bundle?</source>
            <translation>la réponse du descripteur ne contient pas de description : est-ce bien le bundle de description ?</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.overlay</name>
        <message>
            <source>this caption has no explanation: caption again with 'Explain each word' on</source>
            <translation>cette description n'a pas d'explication : décrivez de nouveau avec « Expliquer chaque mot »</translation>
        </message>
        <message>
            <source>the caption is of a picture of another size: caption the slice again</source>
            <translation>la description est celle d'une image d'une autre taille : décrivez de nouveau la coupe</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.rounds</name>
        <message>
            <source>captioning {name}</source>
            <translation>description de {name}</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.scene</name>
        <message>
            <source>the caption is empty: write one, or do not save</source>
            <translation>la description est vide : écrivez-en une, ou n'enregistrez pas</translation>
        </message>
    </context>
    <context>
        <name>setup.bundle_source</name>
        <message>
            <source>{file} does not say which packages it needs</source>
            <translation>{file} ne dit pas de quels paquets il a besoin</translation>
        </message>
        <message>
            <source>name the bundle first: its zip file, its folder or its address</source>
            <translation>indiquez d'abord le bundle : son fichier zip, son dossier ou son adresse</translation>
        </message>
        <message>
            <source>{bundle} is not the captioning bundle: choose the folder with configs and scripts</source>
            <translation>{bundle} n'est pas le bundle de description : choisissez le dossier qui contient configs et scripts</translation>
        </message>
        <message>
            <source>{path} does not exist: choose the bundle's zip file or folder</source>
            <translation>{path} n'existe pas : choisissez le fichier zip ou le dossier du bundle</translation>
        </message>
        <message>
            <source>{url} is not fetched: the address of a bundle begins with https://</source>
            <translation>{url} n'est pas téléchargé : l'adresse d'un bundle commence par https://</translation>
        </message>
        <message>
            <source>fetching the bundle: {done} MB</source>
            <translation>téléchargement du bundle : {done} Mo</translation>
        </message>
        <message>
            <source>{url} cannot be fetched ({reason})</source>
            <translation>{url} ne peut pas être téléchargé ({reason})</translation>
        </message>
        <message>
            <source>{url} broke off at {done} of {size} bytes: try again</source>
            <translation>{url} s'est interrompu à {done} octets sur {size} : réessayez</translation>
        </message>
        <message>
            <source>{url} has another SHA-256 than the one behind it: not used</source>
            <translation>{url} a une autre somme SHA-256 que celle indiquée : non utilisé</translation>
        </message>
        <message>
            <source>unpacking the bundle</source>
            <translation>décompression du bundle</translation>
        </message>
        <message>
            <source>{name} does not hold the captioning bundle</source>
            <translation>{name} ne contient pas le bundle de description</translation>
        </message>
        <message>
            <source>{name} is not a whole zip file</source>
            <translation>{name} n'est pas un fichier zip complet</translation>
        </message>
        <message>
            <source>{folder} cannot be written ({reason})</source>
            <translation>{folder} n'est pas accessible en écriture ({reason})</translation>
        </message>
        <message>
            <source>{name} is larger than any bundle: not unpacked</source>
            <translation>{name} est plus grand que tout bundle : non décompressé</translation>
        </message>
        <message>
            <source>{name} holds {member}, which leads out of it: not unpacked</source>
            <translation>{name} contient {member}, qui mène hors du dossier : non décompressé</translation>
        </message>
    </context>
    <context>
        <name>setup.installation</name>
        <message>
            <source>the set-up was not finished</source>
            <translation>l'installation n'a pas été terminée</translation>
        </message>
        <message>
            <source>nothing is set up yet</source>
            <translation>rien n'est encore installé</translation>
        </message>
        <message>
            <source>{python} is gone</source>
            <translation>{python} n'existe plus</translation>
        </message>
        <message>
            <source>the bundle in {folder} is gone</source>
            <translation>le bundle de {folder} n'existe plus</translation>
        </message>
        <message>
            <source>the package {name} is missing or broken</source>
            <translation>le paquet {name} manque ou est abîmé</translation>
        </message>
        <message>
            <source>looking for a Python</source>
            <translation>recherche d'un Python</translation>
        </message>
        <message>
            <source>fetching the bundle</source>
            <translation>récupération du bundle</translation>
        </message>
        <message>
            <source>installing the packages</source>
            <translation>installation des paquets</translation>
        </message>
        <message>
            <source>fetching the weights and loading the network</source>
            <translation>récupération des poids et chargement du réseau</translation>
        </message>
        <message>
            <source>ready</source>
            <translation>prêt</translation>
        </message>
        <message>
            <source>{folder} could not be removed: restart Slicer and remove again</source>
            <translation>{folder} n'a pas pu être supprimé : redémarrez Slicer et recommencez</translation>
        </message>
        <message>
            <source>the captioner is not set up on this computer: press 'Set up'</source>
            <translation>le descripteur n'est pas installé sur cet ordinateur : appuyez sur « Installer »</translation>
        </message>
        <message>
            <source>{folder} cannot be written ({reason})</source>
            <translation>{folder} n'est pas accessible en écriture ({reason})</translation>
        </message>
        <message>
            <source>{folder} has {free:.1f} GB left and {least:.0f} GB are needed: make room first</source>
            <translation>il reste {free:.1f} Go dans {folder} et il en faut {least:.0f} : libérez d'abord de la place</translation>
        </message>
    </context>
    <context>
        <name>setup.packages</name>
        <message>
            <source>{folder} is no folder of wheels</source>
            <translation>{folder} n'est pas un dossier de wheels</translation>
        </message>
        <message>
            <source>package {name}</source>
            <translation>paquet {name}</translation>
        </message>
        <message>
            <source>unpacking the packages</source>
            <translation>décompression des paquets</translation>
        </message>
        <message>
            <source>pip ended with {code}</source>
            <translation>pip s'est terminé avec {code}</translation>
        </message>
        <message>
            <source>the packages could not be installed: {reason}</source>
            <translation>les paquets n'ont pas pu être installés : {reason}</translation>
        </message>
    </context>
    <context>
        <name>setup.pythons</name>
        <message>
            <source>{python} is Python {found}, and {least} or later is needed</source>
            <translation>{python} est Python {found}, et il faut {least} ou plus récent</translation>
        </message>
        <message>
            <source>{python} has no pip</source>
            <translation>{python} n'a pas pip</translation>
        </message>
        <message>
            <source>{python} is a 32-bit program</source>
            <translation>{python} est un programme 32 bits</translation>
        </message>
        <message>
            <source>{python} is no Python that can be started</source>
            <translation>{python} n'est pas un Python qui puisse être lancé</translation>
        </message>
        <message>
            <source>{fault}: choose another Python</source>
            <translation>{fault} : choisissez un autre Python</translation>
        </message>
        <message>
            <source>no Python was found</source>
            <translation>aucun Python n'a été trouvé</translation>
        </message>
        <message>
            <source>{reason}: install Python {least} and name it under 'Python', or use Slicer 5.10 or later</source>
            <translation>{reason} : installez Python {least} et indiquez-le sous « Python », ou utilisez Slicer 5.10 ou plus récent</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningLib.sources</name>
        <message>
            <source>a report needs the DICOM files that the volume came from: load it with the DICOM module</source>
            <translation>un rapport a besoin des fichiers DICOM d'où vient le volume : chargez-le avec le module DICOM</translation>
        </message>
        <message>
            <source>the volume's files hold other images than it was loaded from: load it again</source>
            <translation>les fichiers du volume contiennent d'autres images que lors du chargement : rechargez-le</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.caption_box</name>
        <message>
            <source>whole caption</source>
            <translation>toute la description</translation>
        </message>
        <message>
            <source>{percent} % likely right</source>
            <translation>juste avec {percent} % de probabilité</translation>
        </message>
        <message>
            <source>not stated</source>
            <translation>non mentionnée</translation>
        </message>
        <message>
            <source>Similar training cases (distance):</source>
            <translation>Cas d’entraînement similaires (distance) :</translation>
        </message>
        <message>
            <source>stated in the caption</source>
            <translation>mentionnée dans la description</translation>
        </message>
        <message>
            <source>considered, not stated</source>
            <translation>envisagée, non mentionnée</translation>
        </message>
        <message>
            <source>Withheld: the captioner is not sure enough of this caption. Edit it, or confirm it when you pass it on.</source>
            <translation>Retenue : le descripteur n'en est pas assez sûr. Modifiez-la, ou confirmez-la en la transmettant.</translation>
        </message>
        <message>
            <source>{slice} of {volume}</source>
            <translation>{slice} de {volume}</translation>
        </message>
        <message>
            <source>frame {number}</source>
            <translation>image {number}</translation>
        </message>
        <message>
            <source>only inside {segment}</source>
            <translation>seulement dans {segment}</translation>
        </message>
        <message>
            <source>chosen by the captioner</source>
            <translation>choisie par le descripteur</translation>
        </message>
        <message>
            <source>as shown</source>
            <translation>comme affichée</translation>
        </message>
        <message>
            <source>window {window} {by}</source>
            <translation>fenêtre {window} {by}</translation>
        </message>
        <message>
            <source>model {version}</source>
            <translation>modèle {version}</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.captioner_box</name>
        <message>
            <source>A captioner runs on this computer already: choose '{name}' under 'Captions by' ({url}).</source>
            <translation>Un descripteur tourne déjà sur cet ordinateur : choisissez « {name} » sous « Décrit par » ({url}).</translation>
        </message>
        <message>
            <source>Setting up ...</source>
            <translation>Installation ...</translation>
        </message>
        <message>
            <source>Repairing ...</source>
            <translation>Réparation ...</translation>
        </message>
        <message>
            <source>Delete {folder} with all that was set up? Captions in the scene stay.</source>
            <translation>Supprimer {folder} avec tout ce qui a été installé ? Les descriptions de la scène restent.</translation>
        </message>
        <message>
            <source>Removing ...</source>
            <translation>Suppression ...</translation>
        </message>
        <message>
            <source>Removed.</source>
            <translation>Supprimé.</translation>
        </message>
        <message>
            <source>{url} answers: model {version}.</source>
            <translation>{url} répond : modèle {version}.</translation>
        </message>
        <message>
            <source>Connecting ...</source>
            <translation>Connexion ...</translation>
        </message>
        <message>
            <source>Ready: model {version}.</source>
            <translation>Prêt : modèle {version}.</translation>
        </message>
        <message>
            <source>model {version}</source>
            <translation>modèle {version}</translation>
        </message>
        <message>
            <source>Pictures of the slices that you caption are sent to this address.</source>
            <translation>Les images des coupes décrites sont envoyées à cette adresse.</translation>
        </message>
        <message>
            <source>Set up in {folder}; nothing leaves this computer.</source>
            <translation>Installé dans {folder} ; rien ne quitte cet ordinateur.</translation>
        </message>
        <message>
            <source>Press 'Repair'.</source>
            <translation>Appuyez sur « Réparer ».</translation>
        </message>
        <message>
            <source>The captioning bundle</source>
            <translation>Le bundle de description</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.history_box</name>
        <message>
            <source>Slice</source>
            <translation>Coupe</translation>
        </message>
        <message>
            <source>Caption</source>
            <translation>Description</translation>
        </message>
        <message>
            <source>State</source>
            <translation>État</translation>
        </message>
        <message>
            <source>frame {number}</source>
            <translation>image {number}</translation>
        </message>
        <message>
            <source>draft, edited</source>
            <translation>ébauche modifiée</translation>
        </message>
        <message>
            <source>draft</source>
            <translation>ébauche</translation>
        </message>
        <message>
            <source>corrected</source>
            <translation>corrigée</translation>
        </message>
        <message>
            <source>accepted</source>
            <translation>acceptée</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.panel</name>
        <message>
            <source>Text file ...</source>
            <translation>Fichier texte ...</translation>
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
            <translation>Description en cours ; la première charge aussi le réseau ...</translation>
        </message>
        <message>
            <source>there is no volume in the scene: load one first</source>
            <translation>il n'y a pas de volume dans la scène : chargez-en un d'abord</translation>
        </message>
        <message>
            <source>Captioning all volumes ...</source>
            <translation>Description de tous les volumes ...</translation>
        </message>
        <message>
            <source>no draft waits: caption a slice, or all loaded volumes, first</source>
            <translation>aucune ébauche n'attend : décrivez d'abord une coupe, ou tous les volumes chargés</translation>
        </message>
        <message>
            <source>Asking the server for the next image ...</source>
            <translation>Demande de l'image suivante au serveur ...</translation>
        </message>
        <message>
            <source>the volume was closed while it was captioned: the caption was dropped</source>
            <translation>le volume a été fermé pendant sa description : elle a été abandonnée</translation>
        </message>
        <message>
            <source>Read it, correct it, accept it.</source>
            <translation>Lisez, corrigez, acceptez.</translation>
        </message>
        <message>
            <source>{count} volumes have a draft now.</source>
            <translation>{count} volumes ont maintenant une ébauche.</translation>
        </message>
        <message>
            <source>More in the log.</source>
            <translation>La suite dans le journal.</translation>
        </message>
        <message>
            <source>Every image has a reviewed caption.</source>
            <translation>Chaque image a une description vérifiée.</translation>
        </message>
        <message>
            <source>{name} is loaded: find the slice and caption it.</source>
            <translation>{name} est chargé : cherchez la coupe et décrivez-la.</translation>
        </message>
        <message>
            <source>Accepted and kept in the scene as '{name}'.</source>
            <translation>Acceptée et gardée dans la scène sous « {name} ».</translation>
        </message>
        <message>
            <source>Copied.</source>
            <translation>Copié.</translation>
        </message>
        <message>
            <source>Sent; the server keeps it with '{image}'.</source>
            <translation>Envoyée ; le serveur la garde avec « {image} ».</translation>
        </message>
        <message>
            <source>Sending ...</source>
            <translation>Envoi ...</translation>
        </message>
        <message>
            <source>Caption as text</source>
            <translation>Description en texte</translation>
        </message>
        <message>
            <source>Caption as DICOM SR</source>
            <translation>Description en DICOM SR</translation>
        </message>
        <message>
            <source>Caption as FHIR DiagnosticReport</source>
            <translation>Description en FHIR DiagnosticReport</translation>
        </message>
        <message>
            <source>Written: {path}.</source>
            <translation>Écrit : {path}.</translation>
        </message>
        <message>
            <source>Written: {path} (preliminary, unverified).</source>
            <translation>Écrit : {path} (préliminaire, non vérifié).</translation>
        </message>
        <message>
            <source>Writing the report ...</source>
            <translation>Écriture du rapport ...</translation>
        </message>
        <message>
            <source>a MONAI Label server learns: choose one under 'Captioner'</source>
            <translation>c'est un serveur MONAI Label qui apprend : choisissez-en un sous « Descripteur »</translation>
        </message>
        <message>
            <source>Training ...</source>
            <translation>Entraînement ...</translation>
        </message>
        <message>
            <source>Version {version} is active, trained on {count} captions.</source>
            <translation>La version {version} est active, entraînée sur {count} descriptions.</translation>
        </message>
        <message>
            <source>Validation loss: {losses}.</source>
            <translation>Perte de validation : {losses}.</translation>
        </message>
        <message>
            <source>The scene was closed; the text that you changed is still here to copy.</source>
            <translation>La scène a été fermée ; le texte que vous avez modifié peut encore être copié ici.</translation>
        </message>
        <message>
            <source>Captioner: {name}</source>
            <translation>Descripteur : {name}</translation>
        </message>
        <message>
            <source>the volume of this caption is gone</source>
            <translation>le volume de cette description n'est plus là</translation>
        </message>
        <message>
            <source>there is no caption yet: caption a slice first</source>
            <translation>il n'y a pas encore de description : décrivez d'abord une coupe</translation>
        </message>
        <message>
            <source>Is it right as it stands?</source>
            <translation>Est-elle juste telle quelle ?</translation>
        </message>
        <message>
            <source>across the volume's slices</source>
            <translation>en travers des coupes</translation>
        </message>
        <message>
            <source>{plane} slice {number}</source>
            <translation>{plane}, coupe {number}</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.parameters</name>
        <message>
            <source>As shown in the view</source>
            <translation>Comme dans la vue</translation>
        </message>
        <message>
            <source>The captioner's choice</source>
            <translation>Choix du descripteur</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.planes</name>
        <message>
            <source>axial</source>
            <translation>axiale</translation>
        </message>
        <message>
            <source>coronal</source>
            <translation>coronale</translation>
        </message>
        <message>
            <source>sagittal</source>
            <translation>sagittale</translation>
        </message>
        <message>
            <source>oblique</source>
            <translation>oblique</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.tasks</name>
        <message>
            <source>{text} Wait for it, or cancel it first.</source>
            <translation>{text} Attendez, ou annulez d'abord.</translation>
        </message>
        <message>
            <source>Cancelled.</source>
            <translation>Annulé.</translation>
        </message>
        <message>
            <source>Cancelling ...</source>
            <translation>Annulation ...</translation>
        </message>
    </context>
    <context>
        <name>ImageCaptioningPanel.word_view</name>
        <message>
            <source>This word names nothing visible: it has no map and no region.</source>
            <translation>Ce mot ne nomme rien de visible : il n’a ni carte ni région.</translation>
        </message>
        <message>
            <source>Drawing the region ...</source>
            <translation>Tracé de la région ...</translation>
        </message>
        <message>
            <source>Region: drawn by SAM's mask decoder around the peak of the word's map.</source>
            <translation>Région : tracée par le décodeur de masques de SAM autour du maximum de la carte du mot.</translation>
        </message>
        <message>
            <source>Region: the part of the map around its peak; nothing was outlined in the image.</source>
            <translation>Région : la partie de la carte autour de son maximum ; rien n'a été délimité dans l'image elle-même.</translation>
        </message>
    </context>
    <context>
        <name>Caption</name>
        <message>
            <source>The caption; change what is wrong (Ctrl+Shift+E)</source>
            <translation>La description ; changez ce qui est faux (Ctrl+Maj+E)</translation>
        </message>
        <message>
            <source>The caption appears here, for you to read and correct.</source>
            <translation>La description apparaît ici, pour être lue et corrigée.</translation>
        </message>
        <message>
            <source>How likely the caption is right, measured on images whose captions are known</source>
            <translation>La probabilité que la description soit juste, mesurée sur des images aux descriptions connues</translation>
        </message>
        <message>
            <source>Plane, kind and organ:</source>
            <translation>Plan, type d'image et organe :</translation>
        </message>
        <message>
            <source>-</source>
            <translation>-</translation>
        </message>
        <message>
            <source>Finding:</source>
            <translation>Constatation :</translation>
        </message>
        <message>
            <source>Findings considered; click one to put it into the caption:</source>
            <translation>Constatations envisagées ; un clic en insère une dans la description :</translation>
        </message>
        <message>
            <source>What each word rests on:</source>
            <translation>Sur quoi repose chaque mot :</translation>
        </message>
        <message>
            <source>A map shades where a word rests; a region outlines the place around its peak</source>
            <translation>Une carte ombre ce sur quoi repose un mot ; une région délimite l'endroit autour de son maximum</translation>
        </message>
        <message>
            <source>as a map</source>
            <translation>en carte</translation>
        </message>
        <message>
            <source>as a region</source>
            <translation>en région</translation>
        </message>
        <message>
            <source>Accept</source>
            <translation>Accepter</translation>
        </message>
        <message>
            <source>Keep the caption in the scene as one that you read (Ctrl+Return)</source>
            <translation>Garde la description dans la scène comme lue (Ctrl+Entrée)</translation>
        </message>
        <message>
            <source>Send back</source>
            <translation>Renvoyer</translation>
        </message>
        <message>
            <source>Send the caption to MONAI Label, which learns from it</source>
            <translation>Envoie la description à MONAI Label, qui s'en sert pour apprendre</translation>
        </message>
        <message>
            <source>Copy</source>
            <translation>Copier</translation>
        </message>
        <message>
            <source>Copy the caption to the clipboard</source>
            <translation>Copie la description dans le presse-papiers</translation>
        </message>
        <message>
            <source>Export</source>
            <translation>Exporter</translation>
        </message>
        <message>
            <source>Write the caption as a file</source>
            <translation>Écrit la description dans un fichier</translation>
        </message>
    </context>
    <context>
        <name>Captioner</name>
        <message>
            <source>Captions by:</source>
            <translation>Décrit par :</translation>
        </message>
        <message>
            <source>Who captions</source>
            <translation>Qui décrit</translation>
        </message>
        <message>
            <source>This computer</source>
            <translation>Cet ordinateur</translation>
        </message>
        <message>
            <source>MONAI Label server</source>
            <translation>Serveur MONAI Label</translation>
        </message>
        <message>
            <source>Captioning service</source>
            <translation>Service de description</translation>
        </message>
        <message>
            <source>Bundle:</source>
            <translation>Bundle :</translation>
        </message>
        <message>
            <source>zip file, folder or https:// address</source>
            <translation>fichier zip, dossier ou adresse https://</translation>
        </message>
        <message>
            <source>Where the captioning bundle comes from</source>
            <translation>D'où vient le bundle de description</translation>
        </message>
        <message>
            <source>Zip...</source>
            <translation>Zip...</translation>
        </message>
        <message>
            <source>Choose the bundle's zip file</source>
            <translation>Choisir le fichier zip du bundle</translation>
        </message>
        <message>
            <source>Folder...</source>
            <translation>Dossier...</translation>
        </message>
        <message>
            <source>Choose an unpacked bundle</source>
            <translation>Choisir un bundle décompressé</translation>
        </message>
        <message>
            <source>Set-up options</source>
            <translation>Options d'installation</translation>
        </message>
        <message>
            <source>Wheels:</source>
            <translation>Wheels :</translation>
        </message>
        <message>
            <source>A folder of wheels, for a computer without the internet; nothing is fetched then</source>
            <translation>Un dossier de wheels, pour un ordinateur sans internet ; rien n'est alors téléchargé</translation>
        </message>
        <message>
            <source>Python:</source>
            <translation>Python :</translation>
        </message>
        <message>
            <source>Which Python runs the captioner; empty for Slicer's own or the first that is new enough</source>
            <translation>Quel Python exécute le descripteur ; vide pour celui de Slicer ou le premier assez récent</translation>
        </message>
        <message>
            <source>PyTorch without CUDA (a much smaller download)</source>
            <translation>PyTorch sans CUDA (bien plus petit)</translation>
        </message>
        <message>
            <source>Set up</source>
            <translation>Installer</translation>
        </message>
        <message>
            <source>Fetch what the captioner needs into a folder of its own; Slicer's Python stays as it is</source>
            <translation>Met le nécessaire dans un dossier à part ; le Python de Slicer reste tel quel</translation>
        </message>
        <message>
            <source>Repair</source>
            <translation>Réparer</translation>
        </message>
        <message>
            <source>Fetch again what is missing or broken</source>
            <translation>Reprend ce qui manque ou est abîmé</translation>
        </message>
        <message>
            <source>Remove</source>
            <translation>Supprimer</translation>
        </message>
        <message>
            <source>Delete all that was set up</source>
            <translation>Supprime tout ce qui a été installé</translation>
        </message>
        <message>
            <source>Address:</source>
            <translation>Adresse :</translation>
        </message>
        <message>
            <source>Address of a MONAI Label server that runs the captioning app</source>
            <translation>Adresse d'un serveur MONAI Label avec l'application de description</translation>
        </message>
        <message>
            <source>Address of the bundle's own HTTP service</source>
            <translation>Adresse du service HTTP du bundle</translation>
        </message>
        <message>
            <source>Token:</source>
            <translation>Jeton :</translation>
        </message>
        <message>
            <source>Where the server asks for one; it is not kept</source>
            <translation>Si le serveur en demande un ; il n'est pas gardé</translation>
        </message>
        <message>
            <source>where the server asks for one</source>
            <translation>si le serveur en demande un</translation>
        </message>
        <message>
            <source>Authority:</source>
            <translation>Autorité :</translation>
        </message>
        <message>
            <source>File of the authority that signed the server's certificate, where the system does not know it</source>
            <translation>Fichier de l'autorité qui a signé le certificat du serveur, si le système ne la connaît pas</translation>
        </message>
        <message>
            <source>Connect</source>
            <translation>Se connecter</translation>
        </message>
        <message>
            <source>See whether the server answers</source>
            <translation>Vérifie que le serveur répond</translation>
        </message>
        <message>
            <source>Log</source>
            <translation>Journal</translation>
        </message>
    </context>
</TS>
